import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { kendall } from '../../statistics/rank-correlation.ts';
import type { EncodedRow } from '../../tokenization/types.ts';
import { rowFeeds } from '../step/feeds.ts';

/** How a smaller file's scores differ from those of the float32 one on the same rows. */
export interface Parity {
  readonly rows: number;
  /** Root mean square of the differences. */
  readonly rms: number;
  readonly largest: number;
  /** Standard deviation of the float32 scores, to judge the two above by. */
  readonly spread: number;
  readonly kendall: number;
  /** Largest difference of one row's score alone and among others, in the smaller file. */
  readonly batchDrift: number;
  /** Float32's time over the smaller file's, same rows, in alternation. */
  readonly speed: number;
}

export interface ParityBounds {
  /** Of rms over spread. */
  readonly relativeRms: number;
  readonly batchDrift: number;
}

export const DEFAULT_BOUNDS: ParityBounds = { relativeRms: 0.25, batchDrift: 1e-4 };

const BATCH = 16;

/** Scores of rows in the order they come, `size` of them at a time. */
export async function score(
  session: InferenceSession,
  rows: readonly EncodedRow[],
  padId: number,
  size: number,
): Promise<Float32Array> {
  const scores = new Float32Array(rows.length);
  for (let at = 0; at < rows.length; at += size) {
    const batch = rows.slice(at, at + size);
    const results = await session.run(rowFeeds(batch, session.inputNames, padId));
    scores.set((results[session.outputNames[0]!] as Tensor).data as Float32Array, at);
  }
  return scores;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Rounds of timing; the two files take turns, so that a drift of the machine's speed hits both. */
const ROUNDS = 5;

async function speedRatio(
  float: InferenceSession,
  small: InferenceSession,
  rows: readonly EncodedRow[],
  padId: number,
): Promise<number> {
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const a = await timed(() => score(float, rows, padId, BATCH));
    const b = await timed(() => score(small, rows, padId, BATCH));
    ratios.push(a / b);
  }
  return median(ratios);
}

/** Compares two sessions of one model on rows sorted by length. */
export async function compareSessions(
  float: InferenceSession,
  small: InferenceSession,
  rows: readonly EncodedRow[],
  padId: number,
): Promise<Parity> {
  const sorted = [...rows].sort((a, b) => a.ids.length - b.ids.length);
  const exact = await score(float, sorted, padId, BATCH);
  const got = await score(small, sorted, padId, BATCH);
  const alone = await score(small, sorted, padId, 1);
  const differences = Array.from(got, (x, i) => x - exact[i]!);
  const mean = exact.reduce((a, b) => a + b, 0) / exact.length;
  const rms = (values: readonly number[]): number =>
    Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  const most = (values: readonly number[]): number => values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return {
    rows: sorted.length,
    rms: rms(differences),
    largest: most(differences),
    spread: rms(Array.from(exact, (x) => x - mean)),
    kendall: kendall(exact, got).statistic,
    batchDrift: most(Array.from(alone, (x, i) => x - got[i]!)),
    speed: await speedRatio(float, small, sorted.slice(0, 4 * BATCH), padId),
  };
}

/** Why a file is not to be published, if it is not. */
export function refusal(parity: Parity, bounds: ParityBounds = DEFAULT_BOUNDS): string | undefined {
  const relative = parity.rms / Math.max(parity.spread, 1e-9);
  if (!(relative <= bounds.relativeRms))
    return `expected scores within ${bounds.relativeRms} of their spread (RMS), got ${relative.toFixed(3)}`;
  if (!(parity.batchDrift <= bounds.batchDrift))
    return `expected scores that do not depend on batch mates (${bounds.batchDrift}), got a drift of ${parity.batchDrift}`;
  return undefined;
}
