import { mean, sum } from './samples.ts';
import { studentizedRange } from './studentized-range.ts';

export interface TukeyPair {
  readonly a: number;
  readonly b: number;
  /** Mean of a minus mean of b. */
  readonly difference: number;
  readonly p: number;
  readonly interval: readonly [number, number];
}

interface Design {
  readonly means: readonly number[];
  readonly meanSquare: number;
  readonly df: number;
  /** Standard error factor of a pair: ½ (1/n_a + 1/n_b). */
  readonly share: (a: number, b: number) => number;
}

function pairs({ means, meanSquare, df, share }: Design, level: number): TukeyPair[] {
  const range = studentizedRange(means.length, df);
  const critical = range.quantile(level);
  const out: TukeyPair[] = [];
  for (let a = 0; a < means.length; a++)
    for (let b = a + 1; b < means.length; b++) {
      const error = Math.sqrt(meanSquare * share(a, b));
      const difference = means[a]! - means[b]!;
      out.push({
        a,
        b,
        difference,
        p: error === 0 ? (difference === 0 ? 1 : 0) : range.sf(Math.abs(difference) / error),
        interval: [difference - critical * error, difference + critical * error],
      });
    }
  return out;
}

/**
 * Tukey's honestly significant differences of independent groups (Tukey–Kramer where sizes differ), as SciPy's `tukey_hsd`: every
 * pair, one family-wise error rate.
 */
export function tukeyHsd(groups: readonly ArrayLike<number>[], level = 0.95): TukeyPair[] {
  const means = groups.map(mean);
  const df = groups.reduce((total, group) => total + group.length, 0) - groups.length;
  const within = groups.map((group, i) => sum(Array.from(group, (value) => (value - means[i]!) ** 2)));
  const share = (a: number, b: number): number => (1 / groups[a]!.length + 1 / groups[b]!.length) / 2;
  return pairs({ means, meanSquare: sum(within) / df, df, share }, level);
}

/**
 * Tukey's differences of systems measured on the same queries: two-way analysis of variance without replication takes the
 * queries' own difficulty out of the error (Carterette 2012). `systems[i][q]` is system i on query q.
 */
export function tukeyHsdPaired(systems: readonly ArrayLike<number>[], level = 0.95): TukeyPair[] {
  const means = systems.map(mean);
  const n = systems[0]!.length;
  const queryMeans = Array.from({ length: n }, (_, q) => mean(systems.map((system) => system[q]!)));
  const grand = mean(means);
  const residuals = systems.flatMap((system, i) =>
    Array.from({ length: n }, (_, q) => (system[q]! - means[i]! - queryMeans[q]! + grand) ** 2),
  );
  const df = (systems.length - 1) * (n - 1);
  return pairs({ means, meanSquare: sum(residuals) / df, df, share: () => 1 / n }, level);
}
