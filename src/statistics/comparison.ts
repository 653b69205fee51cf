import { createRandom, deriveSeed } from '../util/random.ts';
import { bootstrapInterval } from './bootstrap.ts';
import { adjust, type Correction } from './corrections.ts';
import { randomizationTest } from './randomization.ts';
import { differences, mean } from './samples.ts';
import { pairedT } from './t-tests.ts';
import { wilcoxon } from './wilcoxon.ts';

/** Tests of two systems over the same queries. */
export type PairedTest = 't' | 'randomisation' | 'wilcoxon';

export interface Comparison {
  readonly system: string;
  /** Mean over queries. */
  readonly mean: number;
  /** Mean difference to the baseline. */
  readonly difference: number;
  /** Bootstrap interval (BCa) of the mean difference. */
  readonly interval: readonly [number, number];
  readonly p: number;
  readonly adjustedP: number;
  readonly significant: boolean;
}

interface ComparisonOptions {
  readonly test?: PairedTest;
  readonly correction?: Correction;
  readonly alpha?: number;
  /** Level of the interval. */
  readonly level?: number;
  readonly seed?: number;
  readonly resamples?: number;
}

type Values = ArrayLike<number>;

const TESTS: Readonly<Record<PairedTest, (a: Values, b: Values, seed: number) => number>> = {
  t: (a, b) => pairedT(a, b).p,
  randomisation: (a, b, seed) => randomizationTest(a, b, { random: createRandom(seed) }).p,
  wilcoxon: (a, b) => wilcoxon(a, b).p,
};

/**
 * Compares every system with one baseline over per-query values (same queries, same order). The baseline is not a member of the family that
 * is corrected; a system equal to it on every query counts with p = 1.
 */
export function compareWithBaseline(
  baseline: Values,
  systems: ReadonlyMap<string, Values>,
  options: ComparisonOptions = {},
): Comparison[] {
  const { test = 't', correction = 'holm', alpha = 0.05, seed = 0 } = options;
  const rows = [...systems].map(([system, values]) => {
    const d = differences(values, baseline);
    const random = createRandom(deriveSeed(seed, system, 'bootstrap'));
    const p = TESTS[test](values, baseline, deriveSeed(seed, system, 'randomisation'));
    return {
      system,
      mean: mean(values),
      difference: mean(d),
      interval: bootstrapInterval(d, mean, {
        random,
        level: options.level ?? 0.95,
        resamples: options.resamples ?? 2000,
      }),
      p: d.every((x) => x === 0) ? 1 : p,
    };
  });
  const adjusted = adjust(
    rows.map((row) => row.p),
    correction,
  );
  return rows.map((row, i) => ({ ...row, adjustedP: adjusted[i]!, significant: adjusted[i]! < alpha }));
}
