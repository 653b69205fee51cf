import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { HostPool, LoadedModel, LoadSpec } from '../../src/inference/inference-types.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { float32, int64s } from '../../src/onnx/tensor.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/folder-registry.ts';
import type { ModelRegistry, RegistryObserver, Tokenizers } from '../../src/registry/registry-types.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { createRandom } from '../../src/util/random.ts';

/** Real tokenizers in this thread, as admission wants them. */
export const tokenizers: Tokenizers = { for: (folder) => createLocalTokenizer(folder) };

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789.,!?-'];

/** A WordPiece vocabulary of letters: every text becomes a row of them. */
export const VOCABULARY = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...LETTERS, ...LETTERS.map((l) => `##${l}`)];

export interface GraphShape {
  /** Added to every score, so that versions differ in their answers. */
  readonly bias?: number;
  /** Columns of the output. */
  readonly width?: number;
  readonly output?: 'logits' | 'last_hidden_state';
  /** Takes the passage's influence away. */
  readonly constant?: boolean;
  /** Adds this op to the graph, out of the way of the score. */
  readonly extraOp?: string;
  /** Rounds the scores to 8 bits with a scale of the whole batch, as dynamic int8 does with activations. */
  readonly dynamic?: boolean;
  /** Adds a number by position, from a table of 64. */
  readonly positions?: boolean;
  /** The tool that the file names as its writer. Default: Winnow. */
  readonly producer?: string;
  /** Leaves the input attention_mask out, so that padding counts. */
  readonly unmasked?: boolean;
  readonly input?: string;
}

/** Looks up a number a position; the engine refuses positions beyond the table. */
function byPosition(g: GraphBuilder, width: number): string {
  const values = Array.from({ length: 64 * width }, (_, i) => Math.sin(i));
  const table = g.initializer('positions', float32([64, width], values));
  return g.op('Gather', [table, g.input('position_ids', 'int64', ['batch', 'sequence'])], { axis: 0 });
}

/** A graph that scores a row by the masked mean of one number a token, plus `bias`: small, and real to the engine. */
export function tinyGraph(shape: GraphShape = {}): Uint8Array {
  const { bias = 0, width = 1, output = 'logits', constant = false, input = 'input_ids' } = shape;
  const random = createRandom(7);
  const g = new GraphBuilder('tiny');
  const ids = g.input(input, 'int64', ['batch', 'sequence']);
  const mask = shape.unmasked
    ? g.op('ConstantOfShape', [g.op('Shape', [ids])], { value: int64s([1]) })
    : g.input('attention_mask', 'int64', ['batch', 'sequence']);
  const values = Array.from({ length: VOCABULARY.length * width }, () => (constant ? 0 : random.next() * 8 - 4));
  const table = g.initializer('table', float32([VOCABULARY.length, width], values));
  const words = g.op('Gather', [table, ids], { axis: 0 });
  const embedded = shape.positions ? g.op('Add', [words, byPosition(g, width)]) : words;
  const weight = g.op('Unsqueeze', [g.cast(mask, 'float32'), g.ints([2])]);
  const sum = g.reduceSum(g.op('Mul', [embedded, weight]), [1], false);
  const exact = g.op('Div', [sum, g.reduceSum(weight, [1], false)]);
  const mean = shape.dynamic ? g.op('DequantizeLinear', g.ops('DynamicQuantizeLinear', [exact], {}, 3)) : exact;
  if (shape.extraOp !== undefined) g.ops(shape.extraOp, [mean], {}, 3);
  if (output === 'logits') g.output(g.op('Add', [mean, g.scalar(bias)]), 'float32', ['batch', width], 'logits');
  else g.output(embedded, 'float32', ['batch', 'sequence', width], output);
  const model = modelOf(g.build());
  return encodeModel({ ...model, producer: shape.producer ?? model.producer });
}

export interface FolderShape extends GraphShape {
  readonly file?: string;
  /** Merged over the files that are written anyway; null leaves a file out. */
  readonly files?: Readonly<Record<string, string | Uint8Array | null>>;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Writes a Hugging Face export of the tiny graph into a folder. */
export async function writeExport(folder: string, shape: FolderShape = {}): Promise<string> {
  const config = { model_type: 'bert', max_position_embeddings: 64, vocab_size: VOCABULARY.length, ...shape.config };
  const files: Record<string, string | Uint8Array | null> = {
    'config.json': JSON.stringify(config),
    'tokenizer_config.json': JSON.stringify({ tokenizer_class: 'BertTokenizer', do_lower_case: true }),
    'vocab.txt': VOCABULARY.join('\n'),
    [shape.file ?? 'onnx/model.onnx']: tinyGraph(shape),
    ...shape.files,
  };
  await mkdir(join(folder, 'onnx'), { recursive: true });
  for (const [name, content] of Object.entries(files))
    if (content !== null) await writeFile(join(folder, name), content);
  return folder;
}

const MEMORY = '/dev/shm';

/** A folder of the test's own, gone after it; in memory where a test flushes a thousand times and the machine allows. */
export async function scratch(where: 'disk' | 'memory' = 'disk'): Promise<string> {
  const parent = where === 'memory' && existsSync(MEMORY) ? MEMORY : tmpdir();
  const folder = await mkdtemp(join(parent, 'winnow-registry-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Puts a version in place as a careful writer does: whole, by one rename. */
export async function dropVersion(
  registry: string,
  name: string,
  version: string,
  shape: FolderShape = {},
): Promise<string> {
  const folder = join(registry, name, version);
  await mkdir(join(registry, name), { recursive: true });
  await writeExport(join(registry, name, `.${version}`), shape);
  await rename(join(registry, name, `.${version}`), folder);
  return folder;
}

export interface FakePool extends HostPool {
  readonly loaded: ReadonlyMap<string, LoadSpec>;
  readonly log: readonly string[];
  /** Called before a load answers; throw to fail it. */
  onLoad: (spec: LoadSpec) => void | Promise<void>;
}

/**
 * A pool that scores without an engine, for tests of order and memory: a row's score is the mean of its ids plus the number the model's
 * file name ends with.
 */
export function fakePool(bytes: (spec: LoadSpec) => number = () => 10_000, size = 1): FakePool {
  const loaded = new Map<string, LoadSpec>();
  const log: string[] = [];
  const pool: FakePool = {
    size,
    provider: 'cpu',
    loaded,
    log,
    onLoad: () => {},
    async load(spec): Promise<LoadedModel> {
      log.push(`load ${spec.key}`);
      await pool.onLoad(spec);
      if (loaded.has(spec.key)) throw new Error(`${spec.key} is loaded already`);
      loaded.set(spec.key, spec);
      const inputs = ['input_ids', 'attention_mask'];
      return { key: spec.key, provider: 'cpu', inputs, outputs: ['logits'], loadMs: 1, bytes: bytes(spec) };
    },
    async unload(key) {
      log.push(`unload ${key}`);
      if (!loaded.delete(key)) throw new Error(`${key} is not loaded`);
    },
    async run(key, rows) {
      if (!loaded.has(key)) throw new Error(`${key} is not loaded`);
      const mean = (ids: Int32Array) => ids.reduce((sum, id) => sum + id, 0) / ids.length;
      return { scores: Float32Array.from(rows, (row) => mean(row.ids)), inferMs: 1, host: 0 };
    },
    async close() {},
  };
  return pool;
}

type Events = { [K in keyof Required<RegistryObserver>]: Parameters<Required<RegistryObserver>[K]>[0] };

export interface Recorder {
  readonly observer: RegistryObserver;
  readonly seen: { readonly kind: keyof Events; readonly event: Events[keyof Events] }[];
  /** The next (or an earlier) event that fits. */
  until<K extends keyof Events>(kind: K, fits?: (event: Events[K]) => boolean): Promise<Events[K]>;
}

/** Records the events of an observer, and lets a test wait for one instead of sleeping. */
export function recorder(): Recorder {
  const seen: Recorder['seen'] = [];
  const waiting = new Set<() => void>();
  const tell = (kind: keyof Events) => (event: Events[keyof Events]) => {
    seen.push({ kind, event });
    for (const look of [...waiting]) look();
  };
  return {
    seen,
    observer: {
      onLoaded: tell('onLoaded'),
      onGrown: tell('onGrown'),
      onRefused: tell('onRefused'),
      onUnloaded: tell('onUnloaded'),
      onRouted: tell('onRouted'),
      onScanned: tell('onScanned'),
      onProblem: tell('onProblem'),
    },
    until(kind, fits = () => true) {
      return new Promise((resolve) => {
        const look = () => {
          const hit = seen.find((s) => s.kind === kind && fits(s.event as never));
          if (!hit) return;
          waiting.delete(look);
          resolve(hit.event as never);
        };
        waiting.add(look);
        look();
      });
    },
  };
}

/** A version whose graph is no ONNX file. */
export const broken = { files: { 'onnx/model.onnx': 'no protobuf' } };

/** A registry over a folder with a fake pool (unless one is given), closed after the test. */
export async function openRegistry(folder: string, options: Partial<RegistryOptions> = {}) {
  const registry = await createRegistry({ folder, pool: fakePool(), tokenizers, ...options });
  onTestFinished(() => registry.close());
  return registry;
}

/** The key a reference is served by now. */
export async function serving(registry: ModelRegistry, reference?: string): Promise<string> {
  const { version, release } = await registry.acquire(reference);
  release();
  return version.key;
}

export const label = (folder: string, name: string, labels: Readonly<Record<string, string>>) =>
  writeFileAtomic(join(folder, name, 'labels.json'), JSON.stringify(labels));
