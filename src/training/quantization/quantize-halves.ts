import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { openPassageReader, type PassageGraph } from '../interaction/passage-states.ts';
import { compareScores, DEFAULT_BOUNDS, type Parity, refusal } from './parity.ts';
import { type Quantized, type QuantizeOptions, quantize } from './quantize.ts';
import { openHalves, passageReader, type Reader, topReader } from './reader.ts';

/*
 * The two graphs of an interaction model in int8, each where it pays: scores stay within the bounds, and the graph takes less processor time.
 */

/** Both graphs of an interaction model. */
export interface Halves {
  readonly passage: Model;
  readonly top: Model;
}

export const HALVES = ['passage', 'top'] as const;
type Half = (typeof HALVES)[number];

/** How many times as fast a half has to be to be replaced; more than as fast by default. */
export type LeastSpeeds = Readonly<Partial<Record<Half, number>>>;

/** Why a half stays in float32. */
interface LeftHalf {
  readonly reason: string;
}

export interface QuantizedHalves {
  /** Both graphs; one that does not pay is the float32 one. */
  readonly models: Halves;
  readonly halves: Readonly<Record<Half, Quantized | LeftHalf>>;
  /** Of both files together, passages being read by them, against float32. */
  readonly parity: Parity;
}

export interface HalvesOptions extends Omit<QuantizeOptions, 'reader'> {
  /** What the passages' states are kept as. */
  readonly kept: PassageGraph['kept'];
  readonly leastSpeed?: LeastSpeeds | undefined;
}

export const isLeft = (half: Quantized | LeftHalf): half is LeftHalf => 'reason' in half;

const refuse = (reason: string) => new WinnowError('model_refused', { model: 'int8', version: 'new', reason });

/** Quantizes one graph, or says why it stays as it is. @throws every error but a refusal. */
async function tryHalf(
  half: Half,
  source: Model,
  reader: Reader,
  { onProgress, leastSpeed, ...options }: HalvesOptions,
): Promise<Quantized | LeftHalf> {
  const report =
    onProgress && ((stage: string, done: number, total: number) => onProgress(`${half}: ${stage}`, done, total));
  try {
    const made = await quantize(source, undefined, { ...options, reader, ...(report && { onProgress: report }) });
    const { speed } = made.parity;
    if (speed > (leastSpeed?.[half] ?? 1)) return made;
    return { reason: `it takes ${(100 / speed).toFixed(0)} % of the processor time of float32` };
  } catch (error) {
    if (!(error instanceof WinnowError) || error.code !== 'model_refused') throw error;
    return { reason: String(error.params.reason) };
  }
}

/** Compares the scores of two pairs of graphs. @throws WinnowError `model_refused` where they exceed the bounds. */
async function checkHalves(float: Halves, small: Halves, options: HalvesOptions): Promise<Parity> {
  const { kept, padId, check, bounds = DEFAULT_BOUNDS } = options;
  const open = ({ passage, top }: Halves) => openHalves({ passage, kept }, top, padId, { threads: 1 });
  const [reference, candidate] = [await open(float), await open(small)];
  try {
    const parity = await compareScores(reference, candidate, check, passageReader(kept, float.top, padId));
    const reason = refusal(parity, bounds);
    if (reason !== undefined) throw refuse(reason);
    return parity;
  } finally {
    await reference.close();
    await candidate.close();
  }
}

/**
 * Quantizes both graphs of an interaction model to int8 as `quantize` does: first that of passages, then the top on the states that it gives.
 * Products with kept states, whose matrices are folded, stay in float32.
 * @param source float32 graphs.
 * @param options Rows are those of `readApart`.
 * @throws WinnowError `model_refused` where neither half pays, or both together exceed the bounds.
 */
export async function quantizeHalves(source: Halves, options: HalvesOptions): Promise<QuantizedHalves> {
  const { kept, padId } = options;
  const passage = await tryHalf('passage', source.passage, passageReader(kept, source.top, padId), options);
  const reading = isLeft(passage) ? source.passage : passage.model;
  const states = await openPassageReader({ passage: reading, kept }, padId, {}, true);
  const top = await tryHalf('top', source.top, topReader(states, padId), options).finally(() => states.close());
  if (isLeft(passage) && isLeft(top)) throw refuse(`passage: ${passage.reason}; top: ${top.reason}`);
  const models = { passage: reading, top: isLeft(top) ? source.top : top.model };
  return { models, halves: { passage, top }, parity: await checkHalves(source, models, options) };
}
