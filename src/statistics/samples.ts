import { WinnowError } from '../errors.ts';

/** Sums with Neumaier's compensation, so that thousands of per-query values lose no precision. */
export function sum(values: ArrayLike<number>): number {
  let total = 0;
  let lost = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const next = total + value;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return total + lost;
}

export const mean = (values: ArrayLike<number>): number => sum(values) / values.length;

/** Returns the unbiased sample variance (n − 1); NaN for fewer than two values. */
export function variance(values: ArrayLike<number>): number {
  if (values.length < 2) return Number.NaN;
  const center = mean(values);
  return sum(Array.from(values, (v) => (v - center) ** 2)) / (values.length - 1);
}

/** Returns a − b, element by element. @throws WinnowError `invalid_input` for different lengths. */
export function differences(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  if (a.length !== b.length)
    throw new WinnowError('invalid_input', {
      where: 'paired samples',
      expected: `as many values in both (${a.length})`,
      got: b.length,
    });
  return Float64Array.from(a, (value, i) => value - b[i]!);
}
