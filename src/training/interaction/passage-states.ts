import { createHash } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { WinnowError } from '../../errors.ts';
import { createSession, type SessionSettings } from '../../inference/providers.ts';
import { GraphBuilder } from '../../onnx/builder.ts';
import { Tensor } from '../../onnx/engine.ts';
import { freezeGraph, type Model } from '../../onnx/graph.ts';
import { SCALES, STATES, VECTOR } from '../../onnx/interaction/parts.ts';
import { PASSAGE_MASK } from '../../onnx/interaction/top-graph.ts';
import { toOrt } from '../../onnx/runner.ts';
import { type Kept, keyOf, openKeptRecords } from '../../util/kept-records.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { InteractionEncoder } from './encoder.ts';

/*
 * States and vectors of the passages of a run. The encoder of passages is frozen, so that each passage is read once for all runs of one encoder:
 * what training reads is what a server keeps, rounded alike, whether it was computed just now or before.
 */

/** Padded tokens of a batch of passages. */
const BATCH_TOKENS = 4096;

/** How many passages were found and computed. */
interface PassageCounts {
  readonly found: number;
  readonly computed: number;
  readonly bytes: number;
}

/** Reads what is kept of passages, and computes what is not. */
export interface PassageStates {
  /** Makes the inputs of the top for rows of passages: states, scales, mask, vector. */
  feeds(passages: readonly Int32Array[]): Promise<Record<string, Tensor>>;
  readonly counts: PassageCounts;
  readonly folder: string;
  close(): Promise<void>;
}

/** A graph of passages, and what its states are kept as. */
export type PassageGraph = Pick<InteractionEncoder, 'passage' | 'kept'>;

/** Widths of the parts of a kept passage, in bytes. */
interface Layout {
  readonly hidden: number;
  readonly isInt8: boolean;
  readonly hasVector: boolean;
  /** Whether states of float16 become float32, which the trained graph reads. */
  readonly isDecoded: boolean;
}

/** Returns a hash of what decides the states: the weights that passages are read by, the graph's nodes, and the form of states. */
function passageKey({ passage, kept, settings }: InteractionEncoder): string {
  const hash = createHash('sha256').update(JSON.stringify([kept, settings.states, settings.pooling, settings.form]));
  for (const { op, inputs, outputs } of passage.graph.nodes) hash.update(JSON.stringify([op, inputs, outputs]));
  for (const [name, { bytes }] of passage.graph.initializers) hash.update(name).update(bytes);
  return hash.digest('hex').slice(0, 16);
}

function paddedFeeds(rows: readonly Int32Array[], padId: number, inputs: readonly string[]): Record<string, Tensor> {
  const length = Math.max(...rows.map((ids) => ids.length));
  const of = (value: (ids: Int32Array, t: number) => number) => {
    const data = BigInt64Array.from({ length: rows.length * length }, (_, i) =>
      BigInt(value(rows[Math.floor(i / length)]!, i % length)),
    );
    return new Tensor('int64', data, [rows.length, length]);
  };
  const all: Record<string, Tensor> = {
    input_ids: of((ids, t) => ids[t] ?? padId),
    attention_mask: of((ids, t) => +(t < ids.length)),
    token_type_ids: of(() => 0),
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => inputs.includes(name)));
}

/** The output with float16 states as float32. */
const WIDE = 'wide_states';

const bytesOf = ({ buffer, byteOffset, byteLength }: NodeJS.TypedArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const bytesIn = ({ data }: OrtTensor): Uint8Array => bytesOf(data as Int8Array);

/** Makes a graph of passages give float16 states as float32, which hold the same numbers: the engine's binding gives no arrays of float16. */
function readable({ passage, kept }: PassageGraph): Model {
  if (kept === 'int8') return passage;
  const others = passage.graph.outputs.filter(({ name }) => name !== STATES);
  const g = GraphBuilder.from(freezeGraph({ ...passage.graph, outputs: others }));
  g.output(g.cast(STATES, 'float32'), 'float32', undefined, WIDE);
  return { ...passage, graph: g.build() };
}

/** Computes what is kept of passages of like length; noted with each is its number of tokens. */
async function compute(
  session: InferenceSession,
  rows: readonly Int32Array[],
  padId: number,
  { hidden, isInt8, hasVector }: Layout,
): Promise<Kept[]> {
  const results = await session.run(paddedFeeds(rows, padId, session.inputNames));
  const states = results[isInt8 ? STATES : WIDE] as OrtTensor;
  const length = states.dims[1]!;
  const width = hidden * (isInt8 ? 1 : 2);
  const parts = {
    states: isInt8 ? bytesIn(states) : bytesOf(Float16Array.from(states.data as Float32Array)),
    scales: isInt8 ? bytesIn(results[SCALES] as OrtTensor) : new Uint8Array(),
    vector: hasVector ? bytesIn(results[VECTOR] as OrtTensor) : new Uint8Array(),
  };
  return rows.map((ids, r) => {
    const tokens = ids.length;
    const own = [
      parts.states.subarray(r * length * width, (r * length + tokens) * width),
      isInt8 ? parts.scales.subarray(4 * r * length, 4 * (r * length + tokens)) : parts.scales,
      hasVector ? parts.vector.subarray(4 * r * hidden, 4 * (r + 1) * hidden) : parts.vector,
    ];
    return { note: tokens, value: Buffer.concat(own) };
  });
}

/** Returns the folder of a recipe's kept states: the one it names, else `passages` beside the run's. */
export const passagesFolder = ({ recipe, folder }: LoadedRecipe, runFolder: string): string =>
  recipe.interaction?.passages === undefined
    ? join(dirname(resolve(runFolder)), 'passages')
    : resolve(folder, recipe.interaction.passages);

/** Says how many passages a run found, and how many it computed. */
export function passagesNote({
  counts: { found, computed, bytes },
  folder,
}: Pick<PassageStates, 'counts' | 'folder'>): string {
  const each = computed === 0 ? '' : ` (${(bytes / computed / 1000).toFixed(1)} kB each)`;
  const count = (value: number): string => value.toLocaleString('en-US');
  return `states of passages in ${folder}: ${count(found)} were there, ${count(computed)} were computed${each}`;
}

/** Forms batches of passages of like length, shortest first. */
function batchesOf(missing: ReadonlyMap<string, Int32Array>): (readonly (readonly [string, Int32Array])[])[] {
  const batches: [string, Int32Array][][] = [];
  let batch: [string, Int32Array][] = [];
  for (const entry of [...missing].sort(([, a], [, b]) => a.length - b.length)) {
    if (batch.length > 0 && (batch.length + 1) * entry[1].length > BATCH_TOKENS) {
      batches.push(batch);
      batch = [];
    }
    batch.push(entry);
  }
  return batch.length > 0 ? [...batches, batch] : batches;
}

/** Lays kept passages out as inputs of the top; what is padding is 0. */
function stacked(all: readonly Kept[], { hidden, isInt8, hasVector, isDecoded }: Layout): Record<string, Tensor> {
  const rows = all.length;
  const length = Math.max(...all.map(({ note }) => note));
  const width = hidden * (isInt8 ? 1 : 2);
  const states = new Uint8Array(rows * length * width);
  const scales = new Float32Array(isInt8 ? rows * length : 0);
  const vectors = new Float32Array(hasVector ? rows * hidden : 0);
  const mask = new BigInt64Array(rows * length);
  const [scaleBytes, vectorBytes] = [scales, vectors].map(({ buffer }) => new Uint8Array(buffer)) as [
    Uint8Array,
    Uint8Array,
  ];
  for (const [r, { note: tokens, value }] of all.entries()) {
    const [behind, end] = [tokens * width, tokens * (width + (isInt8 ? 4 : 0))];
    states.set(value.subarray(0, behind), r * length * width);
    if (isInt8) scaleBytes.set(value.subarray(behind, end), 4 * r * length);
    if (hasVector) vectorBytes.set(value.subarray(end, end + 4 * hidden), 4 * r * hidden);
    mask.fill(1n, r * length, r * length + tokens);
  }
  const dims = [rows, length, hidden];
  return {
    [STATES]:
      isInt8 || !isDecoded
        ? toOrt({ dtype: isInt8 ? 'int8' : 'float16', dims, bytes: states })
        : new Tensor('float32', Float32Array.from(new Float16Array(states.buffer)), dims),
    ...(isInt8 && { [SCALES]: new Tensor('float32', scales, [rows, length]) }),
    [PASSAGE_MASK]: new Tensor('int64', mask, [rows, length]),
    ...(hasVector && { [VECTOR]: new Tensor('float32', vectors, [rows, hidden]) }),
  };
}

const layoutOf = ({ passage: { graph }, kept }: PassageGraph, form: 'decoded' | 'as kept'): Layout => ({
  hidden: Number(graph.outputs.find(({ name }) => name === STATES)?.dims?.at(-1)),
  isInt8: kept === 'int8',
  hasVector: graph.outputs.some(({ name }) => name === VECTOR),
  isDecoded: form === 'decoded',
});

/**
 * Opens a graph of passages that makes the inputs of a served top in memory.
 * @param remembers Whether a passage is read once; else in every batch that it is part of.
 */
export async function openPassageReader(
  graph: PassageGraph,
  padId: number,
  settings: SessionSettings,
  remembers: boolean,
): Promise<Pick<PassageStates, 'feeds' | 'close'>> {
  const layout = layoutOf(graph, 'as kept');
  const session = await createSession(readable(graph), settings);
  const known = new Map<string, Kept>();
  return {
    async feeds(passages) {
      if (!remembers) return stacked(await compute(session, passages, padId, layout), layout);
      const missing = new Map(passages.map((ids) => [keyOf(ids), ids] as const).filter(([key]) => !known.has(key)));
      for (const batch of batchesOf(missing)) {
        const values = await compute(
          session,
          batch.map(([, ids]) => ids),
          padId,
          layout,
        );
        for (const [i, [key]] of batch.entries()) known.set(key, values[i]!);
      }
      return stacked(
        passages.map((ids) => known.get(keyOf(ids))!),
        layout,
      );
    },
    close: () => session.release(),
  };
}

/**
 * Opens the kept states of an encoder's passages.
 * @param form `decoded` for the trained graph, whose states of float16 arrive as float32; `as kept` for a served one.
 * @param folder that runs of one or several encoders share; each encoder has a folder of its own inside.
 */
export async function openPassageStates(
  encoder: InteractionEncoder,
  folder: string,
  padId: number,
  settings: SessionSettings,
  form: 'decoded' | 'as kept' = 'decoded',
): Promise<PassageStates> {
  const own = join(folder, passageKey(encoder));
  const file = await openKeptRecords(own);
  const layout = layoutOf(encoder, form);
  let session: Promise<InferenceSession> | undefined;
  let [computed, bytes] = [0, 0];
  const found = file.size;
  const add = async (missing: ReadonlyMap<string, Int32Array>): Promise<void> => {
    session ??= createSession(readable(encoder), settings);
    for (const batch of batchesOf(missing)) {
      const rows = batch.map(([, ids]) => ids);
      const values = await compute(await session, rows, padId, layout);
      await file.append(new Map(batch.map(([key], i) => [key, values[i]!])));
      computed += batch.length;
      bytes += values.reduce((sum, { value }) => sum + value.byteLength, 0);
    }
  };
  /** Reads all, computing what is missing or damaged. */
  const readAll = async (passages: readonly Int32Array[], isAgain = false): Promise<Kept[]> => {
    const keys = passages.map(keyOf);
    const read = await Promise.all(keys.map((key) => file.read(key)));
    const missing = new Map(passages.flatMap((ids, i) => (read[i] ? [] : [[keys[i]!, ids] as const])));
    if (missing.size === 0) return read.flatMap((kept) => kept ?? []);
    if (isAgain)
      throw new WinnowError('invalid_input', {
        where: own,
        expected: 'states that can be read after they were written',
        got: `${missing.size} that cannot; the disk is damaged`,
      });
    await add(missing);
    return readAll(passages, true);
  };
  return {
    folder: own,
    get counts() {
      return { found, computed, bytes };
    },
    feeds: async (passages) => stacked(await readAll(passages), layout),
    async close() {
      await file.close();
      await (await session)?.release();
    },
  };
}
