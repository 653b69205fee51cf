import { kendall } from '../../statistics/rank-correlation.ts';
import { differences, mean } from '../../statistics/samples.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { isQuery, type ModelRow } from '../measure/side-rows.ts';
import type { BatchLimit, RowScorer } from '../step/row-scorer.ts';
import type { Reader } from './reader.ts';

/**
 * How the scores of a smaller file differ from those of the float32 file on the same pairs. The scores of a bi-encoder are compared less the mean
 * of their list (see `comparedScores`).
 */
export interface Parity {
  /** Pairs. */
  readonly rows: number;
  /** Root mean square of the differences. */
  readonly rms: number;
  readonly largest: number;
  /** Standard deviation of the float32 scores, the scale of `rms` and `largest`. */
  readonly spread: number;
  readonly kendall: number;
  /** Of a bi-encoder: root mean square of the vectors' differences, over that of the vectors. */
  readonly vectorError?: number;
  /** Of an interaction model: that scores are compared less the mean of their list. */
  readonly isCentered?: true;
  /** Largest difference between a row's score, or a number of its vector, alone and in a batch, by the smaller file. */
  readonly batchDrift: number;
  /** Processor time of the float32 file divided by that of the smaller one, on the same rows in turn. */
  readonly speed: number;
}

/** Largest values with which a smaller file is published. */
export interface ParityBounds {
  /** Of `rms` / `spread`, and of `vectorError`. */
  readonly relativeRms: number;
  readonly batchDrift: number;
}

export const DEFAULT_BOUNDS: ParityBounds = { relativeRms: 0.25, batchDrift: 1e-4 };

const BATCH: BatchLimit = { rows: 16 };
/** Rows whose scoring is timed. */
const TIMED_ROWS = 64;

/** Returns the processor time of work in microseconds: other programs change it less than the time on the clock. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(from);
  return Math.max(user + system, 1);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Rounds of timing. The two files take turns, so that changes of the machine's speed affect both. */
const ROUNDS = 5;

async function speedRatio(float: RowScorer, small: RowScorer, rows: readonly EncodedRow[]): Promise<number> {
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const a = await timed(() => float.score(rows, BATCH));
    const b = await timed(() => small.score(rows, BATCH));
    ratios.push(a / b);
  }
  return median(ratios);
}

const rms = (values: Float32Array | Float64Array): number => Math.sqrt(mean(values.map((x) => x * x)));
const most = (values: Float64Array): number => values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);

/** Compares the scores of two files of one model on the same rows. */
export async function compareScores(
  float: RowScorer,
  small: RowScorer,
  rows: readonly ModelRow[],
  reader: Pick<Reader, 'compared' | 'isCentered'>,
): Promise<Parity> {
  const sorted = [...rows].sort((a, b) => a.ids.length - b.ids.length);
  const given = { float: await float.score(sorted, BATCH), small: await small.score(sorted, BATCH) };
  const alone = await small.score(sorted, { rows: 1 });
  const [exact, got] = [reader.compared(sorted, given.float), reader.compared(sorted, given.small)];
  const scoreErrors = differences(got, exact);
  const center = mean(exact);
  return {
    rows: exact.length,
    rms: rms(scoreErrors),
    largest: most(scoreErrors),
    spread: rms(Float64Array.from(exact, (x) => x - center)),
    kendall: kendall(exact, got).statistic,
    ...(rows.some(isQuery) && {
      vectorError: rms(differences(given.small, given.float)) / Math.max(rms(given.float), 1e-30),
    }),
    ...(reader.isCentered && { isCentered: true }),
    batchDrift: most(differences(alone, given.small)),
    speed: await speedRatio(float, small, sorted.slice(0, TIMED_ROWS)),
  };
}

/** Returns why a file is refused, undefined if it is within the bounds. */
export function refusal(parity: Parity, bounds: ParityBounds = DEFAULT_BOUNDS): string | undefined {
  const relative = parity.rms / Math.max(parity.spread, 1e-9);
  if (!(relative <= bounds.relativeRms))
    return `expected scores within ${bounds.relativeRms} of their spread (RMS), got ${relative.toFixed(3)}`;
  const { vectorError = 0 } = parity;
  if (!(vectorError <= bounds.relativeRms))
    return `expected vectors within ${bounds.relativeRms} of their length (RMS), got ${vectorError.toFixed(3)}`;
  if (!(parity.batchDrift <= bounds.batchDrift))
    return `expected scores that do not depend on co-batched rows (${bounds.batchDrift}), got a drift of ${parity.batchDrift}`;
  return undefined;
}
