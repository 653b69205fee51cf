import { WinnowError } from '../errors.ts';
import { chiSquared } from './distributions.ts';

export interface ChiSquareResult {
  readonly statistic: number;
  readonly df: number;
  readonly p: number;
}

const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/**
 * Pearson's χ² of counts against expected shares (equal where not given): the sample-ratio check of an experiment. Shares are scaled
 * to the number of observations.
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

/**
 * χ² test of independence of a table of counts (rows × columns). `yates` moves each cell of a 2 × 2 table by up to one half towards its
 * expectation, as SciPy's `chi2_contingency` does by default.
 */
export function independence(table: readonly (readonly number[])[], { yates = true } = {}): ChiSquareResult {
  const rows = table.map(total);
  const columns = (table[0] ?? []).map((_, j) => total(table.map((row) => row[j]!)));
  const all = total(rows);
  const df = (rows.length - 1) * (columns.length - 1);
  const shift = yates && df === 1 ? 0.5 : 0;
  const statistic = total(
    table.flatMap((row, i) =>
      row.map((count, j) => {
        const expected = (rows[i]! * columns[j]!) / all;
        const distance = Math.abs(count - expected);
        return (distance - Math.min(shift, distance)) ** 2 / expected;
      }),
    ),
  );
  return { statistic, df, p: df === 0 ? 1 : chiSquared(df).sf(statistic) };
}
