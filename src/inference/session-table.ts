import { existsSync, statSync } from 'node:fs';
import { WinnowError } from '../errors.ts';
import { type InferenceSession, Tensor } from '../onnx/engine.ts';
import type { BatchScores, InferenceRow, LoadSpec } from './inference-types.ts';
import { cutKept, KEPT_INPUTS, KEPT_OUTPUTS, KeptBatch, type Layout, layoutOf } from './kept-batch.ts';
import { INPUTS, type InputSpec, integerType, type PaddedInput, Padder } from './padding.ts';
import { createSession, type SessionSettings } from './providers.ts';
import { reduceLogits, toFloat32 } from './reduction.ts';

interface Loaded {
  readonly session: InferenceSession;
  readonly spec: LoadSpec;
  /** Inputs that token ids are padded for. */
  readonly inputs: readonly InputSpec[];
  /** Names of the outputs that are read. */
  readonly outputs: readonly string[];
  /** Of a graph that gives what is kept of passages, or scores by it. */
  readonly layout?: Layout | undefined;
}

interface LoadFacts {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly loadMs: number;
  readonly bytes: number;
}

function inputSpec(metadata: InferenceSession.ValueMetadata, where: string): InputSpec {
  const got = metadata.isTensor ? `${metadata.name} of ${metadata.type}` : `${metadata.name}, no tensor`;
  const type = metadata.isTensor ? integerType(metadata.type) : undefined;
  if (type === undefined || !(metadata.name in INPUTS))
    throw new WinnowError('invalid_graph', {
      where,
      expected: `inputs out of ${Object.keys(INPUTS).join(', ')} (int64 or int32)`,
      got,
    });
  return { name: metadata.name, type };
}

/** Returns the name of the output with the scores: `logits`, else the first. */
function scoreOutput(session: InferenceSession, where: string): string {
  const metadata = session.outputMetadata.find((m) => m.name === 'logits') ?? session.outputMetadata[0];
  if (!metadata?.isTensor || metadata.shape.length > 2)
    throw new WinnowError('invalid_graph', {
      where,
      expected: 'an output [N], [N, 1] or [N, k] (a graph with its classification head)',
      got: metadata?.isTensor ? `${metadata.name} [${metadata.shape.join(', ')}]` : 'no tensor',
    });
  return metadata.name;
}

/** Returns the file to load. Rewritten files lie in a cache, which may be emptied while hosts are replaced. */
const fileOf = ({ file, exported }: LoadSpec): string => (exported === undefined || existsSync(file) ? file : exported);

const tensorOf = ({ data, dims }: PaddedInput) =>
  data instanceof BigInt64Array ? new Tensor('int64', data, dims) : new Tensor('int32', data, dims);

/** Whether a graph scores passages by their kept states. */
const readsKept = ({ inputNames }: InferenceSession): boolean => inputNames.includes('query_of');

/** Checks inputs and outputs of a session. @throws WinnowError `invalid_graph` naming what is wrong. */
function describe(session: InferenceSession, { key, reduction }: LoadSpec): Omit<Loaded, 'session' | 'spec'> {
  const keeps = reduction.kind === 'kept';
  const reads = readsKept(session);
  const own = session.inputMetadata.filter(({ name }) => !reads || !KEPT_INPUTS.includes(name));
  const inputs = own.map((metadata) => inputSpec(metadata, key));
  if (!keeps) {
    const outputs = [scoreOutput(session, key)];
    return reads ? { inputs, outputs, layout: layoutOf(session.inputMetadata, key) } : { inputs, outputs };
  }
  const outputs = KEPT_OUTPUTS.filter((name) => session.outputNames.includes(name));
  return { inputs, outputs, layout: layoutOf(session.outputMetadata, key) };
}

/** Loaded sessions by handle. Pads rows, runs a session and reduces its logits to scores. Blocks its thread while a session runs. */
export class SessionTable {
  readonly #settings: SessionSettings;
  readonly #models = new Map<number, Loaded>();
  readonly #padder = new Padder();
  readonly #keptBatch = new KeptBatch();

  constructor(settings: SessionSettings) {
    // Batches differ in shape, so memory patterns would grow without limit.
    this.#settings = { memoryPattern: false, ...settings };
  }

  /** Loads a model under a handle. @throws WinnowError `invalid_graph` naming the wrong input or output, or the engine's message. */
  async load(handle: number, spec: LoadSpec): Promise<LoadFacts> {
    const before = process.memoryUsage.rss();
    const start = performance.now();
    const session = await this.#open(spec);
    try {
      const described = describe(session, spec);
      await this.unload(handle);
      this.#models.set(handle, { session, spec, ...described });
    } catch (error) {
      await session.release();
      throw error;
    }
    return {
      inputs: session.inputNames,
      outputs: session.outputNames,
      loadMs: performance.now() - start,
      bytes: Math.max(statSync(fileOf(spec)).size, process.memoryUsage.rss() - before),
    };
  }

  async #open(spec: LoadSpec): Promise<InferenceSession> {
    try {
      // Hosts on the processor start without the code that rewrites graphs.
      if (spec.early) {
        const { earlyGraph } = await import('./early-graph.ts');
        return await createSession(await earlyGraph(spec, spec.early), this.#settings);
      }
      const file = fileOf(spec);
      if ((this.#settings.provider ?? 'cpu') === 'cpu') return await createSession(file, this.#settings);
      const { openServed } = await import('./device-graph.ts');
      return await openServed({ file, maxLength: spec.maxLength }, this.#settings);
    } catch (error) {
      if (error instanceof WinnowError) throw error;
      const got = (error as Error).message.trim();
      throw new WinnowError('invalid_graph', { where: spec.key, expected: 'a graph the engine can load', got });
    }
  }

  async unload(handle: number): Promise<void> {
    await this.#models.get(handle)?.session.release();
    this.#models.delete(handle);
  }

  /** Returns one fp32 logit for each row, NaN included; of a graph of passages, what is kept of each. */
  async run(handle: number, rows: readonly InferenceRow[]): Promise<Omit<BatchScores, 'host'>> {
    const model = this.#models.get(handle);
    if (!model) throw new Error(`expected a loaded model, got handle ${handle}`);
    const { session, outputs, spec, layout } = model;
    const feeds = this.#feeds(model, rows);
    const start = performance.now();
    const found = await session.run(feeds, outputs);
    const inferMs = performance.now() - start;
    if (spec.reduction.kind === 'kept')
      return { scores: new Float32Array(0), pieces: cutKept(found, rows, layout!), inferMs };
    const logits = found[outputs[0]!]!;
    const scores = reduceLogits(toFloat32(logits.type, logits.data), logits.dims, rows.length, spec.reduction);
    return { scores, inferMs };
  }

  #feeds({ inputs, spec, layout }: Loaded, rows: readonly InferenceRow[]): Record<string, Tensor> {
    const isKept = layout !== undefined && spec.reduction.kind !== 'kept';
    const { queries, feeds } = isKept ? this.#keptBatch.fill(rows, layout) : { queries: rows, feeds: {} };
    const padded = this.#padder.pad(queries, inputs, spec);
    const ids = Object.fromEntries(Object.entries(padded).map(([name, input]) => [name, tensorOf(input)]));
    return { ...ids, ...feeds };
  }
}
