import { WinnowError } from '../errors.ts';
import { chiSquared } from './distributions.ts';

interface ChiSquareResult {
  readonly statistic: number;
  readonly df: number;
  readonly p: number;
}

const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/**
 * Computes Pearson's χ² test of counts against expected shares (equal by default), which are scaled to the number of observations. The
 * sample-ratio check of an experiment uses it.
 *
 * @throws WinnowError `invalid_input` for fewer than two counts or another number of shares.
 */
export function goodnessOfFit(observed: readonly number[], shares?: readonly number[]): ChiSquareResult {
  const expected = shares ?? observed.map(() => 1);
  if (observed.length < 2 || expected.length !== observed.length)
    throw new WinnowError('invalid_input', {
      where: 'χ² test',
      expected: 'at least 2 counts and a share for each',
      got: `${observed.length} counts, ${expected.length} shares`,
    });
  const scale = total(observed) / total(expected);
  const statistic = total(observed.map((count, i) => (count - expected[i]! * scale) ** 2 / (expected[i]! * scale)));
  const df = observed.length - 1;
  return { statistic, df, p: chiSquared(df).sf(statistic) };
}
