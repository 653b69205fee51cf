import { WinnowError } from '../errors.ts';
import type { Random } from '../util/random.ts';
import { mean, sum } from './samples.ts';
import { studentizedRange } from './studentized-range.ts';

/**
 * How Tukey's test estimates the error of a mean. `two-way`: queries are blocks, the error is what remains after query and system means
 * (additive model, (n − 1)(k − 1) degrees of freedom). `one-way`: systems are independent samples, as in SciPy's `tukey_hsd`. `randomized`:
 * no model, values are swapped among systems within each query (Carterette 2012).
 */
export type TukeyModel = 'two-way' | 'one-way' | 'randomized';

/** Two systems: the first minus the second. */
export interface TukeyPair {
  readonly first: string;
  readonly second: string;
  readonly difference: number;
  /** Simultaneous interval of all pairs; absent for `randomized`. */
  readonly interval?: readonly [number, number];
  /** Corrected for all pairs; by the studentized range at least `LEAST_P`. */
  readonly p: number;
  readonly significant: boolean;
}

export interface TukeyResult {
  readonly model: TukeyModel;
  /** Degrees of freedom of the error; absent for `randomized`. */
  readonly df?: number;
  /** Least difference of means that is significant. */
  readonly honestDifference: number;
  readonly pairs: readonly TukeyPair[];
}

interface TukeyOptions {
  readonly model?: TukeyModel;
  readonly alpha?: number;
  /** Random assignments of `randomized`. */
  readonly resamples?: number;
  readonly random: Random;
}

type Systems = readonly ArrayLike<number>[];

/** Accuracy of the studentized range: smaller p-values are given as this one. */
export const LEAST_P = 1e-8;

/** Returns residual mean square and its degrees of freedom. */
function errorOf(values: Systems, model: 'two-way' | 'one-way'): { readonly square: number; readonly df: number } {
  const [k, n] = [values.length, values[0]!.length];
  const means = values.map(mean);
  const grand = mean(means);
  const blocks = Array.from({ length: n }, (_, i) => mean(values.map((system) => system[i]!)));
  const shift = (i: number): number => (model === 'two-way' ? blocks[i]! - grand : 0);
  const squares = values.flatMap((system, j) => Array.from(system, (value, i) => (value - means[j]! - shift(i)) ** 2));
  const df = model === 'two-way' ? (n - 1) * (k - 1) : k * (n - 1);
  return { square: sum(squares) / df, df };
}

/** Returns the largest difference of means under random assignments of a query's values to systems, in ascending order. */
function randomRanges(values: Systems, resamples: number, random: Random): Float64Array {
  const [k, n] = [values.length, values[0]!.length];
  const rows = Array.from({ length: n }, (_, i) => values.map((system) => system[i]!));
  const totals = new Float64Array(k);
  return Float64Array.from({ length: resamples }, () => {
    totals.fill(0);
    for (const row of rows) {
      random.shuffle(row);
      for (let j = 0; j < k; j++) totals[j]! += row[j]!;
    }
    return (Math.max(...totals) - Math.min(...totals)) / n;
  }).sort();
}

/** Counts the values of a sorted array that are at least `least`, equal ones up to rounding included. */
function countFrom(sorted: Float64Array, least: number): number {
  const bound = least - 1e-12 * Math.max(1, Math.abs(least));
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! >= bound) high = middle;
    else low = middle + 1;
  }
  return sorted.length - low;
}

interface Reference {
  readonly df?: number;
  readonly honestDifference: number;
  /** P-value of a difference of means, by its magnitude. */
  readonly p: (difference: number) => number;
}

function randomizedReference(values: Systems, alpha: number, resamples: number, random: Random): Reference {
  const ranges = randomRanges(values, resamples, random);
  const p = (difference: number): number => (countFrom(ranges, difference) + 1) / (resamples + 1);
  return { honestDifference: ranges[Math.min(resamples - 1, Math.ceil((1 - alpha) * resamples))]!, p };
}

function rangeReference(values: Systems, alpha: number, model: 'two-way' | 'one-way'): Reference {
  const { square, df } = errorOf(values, model);
  const error = Math.sqrt(square / values[0]!.length);
  const range = studentizedRange(values.length, df);
  const p = (difference: number): number =>
    difference === 0 ? 1 : Math.max(LEAST_P, error === 0 ? 0 : range.sf(difference / error));
  return { df, honestDifference: range.quantile(1 - alpha) * error, p };
}

/**
 * Compares all pairs of systems over the same queries by Tukey's honestly significant difference: the probability that any pair of equal
 * systems is called different is at most `alpha`.
 *
 * @param systems name → one value a query, in the same order for all.
 * @throws WinnowError `invalid_input` for fewer than 2 systems or queries, and for lists of different lengths.
 */
export function tukeyHsd(systems: ReadonlyMap<string, ArrayLike<number>>, options: TukeyOptions): TukeyResult {
  const { model = 'two-way', alpha = 0.05, resamples = 20_000, random } = options;
  const [names, values] = [[...systems.keys()], [...systems.values()]];
  const lengths = new Set(values.map(({ length }) => length));
  const [n = 0] = lengths;
  if (names.length < 2 || n < 2 || lengths.size > 1)
    throw new WinnowError('invalid_input', {
      where: 'Tukey’s test',
      expected: 'at least 2 systems with values of the same queries, at least 2',
      got: `${names.length} systems with ${[...lengths].join(' and ')} values`,
    });
  const means = values.map(mean);
  const reference =
    model === 'randomized'
      ? randomizedReference(values, alpha, resamples, random)
      : rangeReference(values, alpha, model);
  const { df, honestDifference, p } = reference;
  const pairs = names.flatMap((first, i) =>
    names.slice(i + 1).map((second, offset): TukeyPair => {
      const difference = means[i]! - means[i + 1 + offset]!;
      const value = p(Math.abs(difference));
      const pair = { first, second, difference, p: value, significant: value < alpha };
      if (df === undefined) return pair;
      return { ...pair, interval: [difference - honestDifference, difference + honestDifference] };
    }),
  );
  return df === undefined ? { model, honestDifference, pairs } : { model, df, honestDifference, pairs };
}
