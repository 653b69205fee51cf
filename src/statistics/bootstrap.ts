import { createRandom, type Random } from '../util/random.ts';
import { normal } from './distributions.ts';
import { mean, sum } from './samples.ts';

type Statistic = (values: Float64Array) => number;

interface BootstrapOptions {
  readonly level?: number;
  readonly resamples?: number;
  /** `percentile`, or `bca`: bias-corrected and accelerated (Efron 1987). */
  readonly method?: 'percentile' | 'bca';
  readonly random?: Random;
}

/** Interpolates linearly between order statistics of a sorted array (NumPy's default percentile). */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

/** Computes the statistic of each resample with replacement. */
function resample(values: Float64Array, statistic: Statistic, resamples: number, random: Random): Float64Array {
  const draw = new Float64Array(values.length);
  return Float64Array.from({ length: resamples }, () => {
    for (let i = 0; i < draw.length; i++) draw[i] = values[random.below(values.length)]!;
    return statistic(draw);
  });
}

/** Computes the acceleration from the skewness of the jackknife: how fast the standard error changes with the value. */
function acceleration(values: Float64Array, statistic: Statistic): number {
  const left = Float64Array.from(values, (_, i) => statistic(values.filter((_, j) => j !== i)));
  const center = mean(left);
  const cubes = sum(left.map((x) => (center - x) ** 3));
  const squares = sum(left.map((x) => (center - x) ** 2));
  return cubes / (6 * squares ** 1.5);
}

/** Returns the shares of the bootstrap distribution that BCa uses in place of (1 − level) / 2 and (1 + level) / 2. */
function bcaShares(distribution: Float64Array, values: Float64Array, statistic: Statistic, level: number): number[] {
  const seen = statistic(values);
  const below = distribution.reduce((n, x) => n + (x < seen ? 1 : x === seen ? 0.5 : 0), 0);
  const bias = normal.quantile(below / distribution.length);
  const a = acceleration(values, statistic);
  return [(1 - level) / 2, (1 + level) / 2].map((share) => {
    const z = bias + normal.quantile(share);
    return normal.cdf(bias + z / (1 - a * z));
  });
}

/** Returns the interval that a bootstrap distribution of `statistic(values)` implies. */
export function intervalOf(
  distribution: Float64Array,
  values: Float64Array,
  statistic: Statistic,
  level: number,
  method: 'percentile' | 'bca',
): [number, number] {
  const sorted = distribution.slice().sort();
  const shares =
    method === 'bca' ? bcaShares(distribution, values, statistic, level) : [(1 - level) / 2, (1 + level) / 2];
  return [percentile(sorted, shares[0]!), percentile(sorted, shares[1]!)];
}

/**
 * Computes the bootstrap confidence interval of a statistic (default the mean) of one sample: per-query values, or per-query differences of
 * two systems. For a sample without spread both bounds are its value.
 */
export function bootstrapInterval(
  values: ArrayLike<number>,
  statistic: Statistic = mean,
  options: BootstrapOptions = {},
): [number, number] {
  const sample = Float64Array.from(values);
  if (sample.every((value) => value === sample[0])) return [statistic(sample), statistic(sample)];
  const random = options.random ?? createRandom(0);
  const distribution = resample(sample, statistic, options.resamples ?? 9999, random);
  return intervalOf(distribution, sample, statistic, options.level ?? 0.95, options.method ?? 'bca');
}
