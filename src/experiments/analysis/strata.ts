import type { Moments } from './moments.ts';

/** What estimates read of moments. */
export type MomentsView = Pick<Moments, 'n' | 'mean' | 'covariance'>;

/** Moments of some units of an arm: one for each stratum. */
class WeightedMoments implements MomentsView {
  readonly n: number;
  readonly #strata: readonly Moments[];
  readonly #weights: readonly number[];

  /** @param weights of the strata; they sum to 1. */
  constructor(strata: readonly Moments[], weights: readonly number[]) {
    this.#strata = strata;
    this.#weights = weights;
    this.n = strata.reduce((sum, { n }) => sum + n, 0);
  }

  mean(i: number): number {
    return this.#strata.reduce((sum, stratum, s) => sum + this.#weights[s]! * stratum.mean(i), 0);
  }

  /** Returns what, divided by n, is the covariance of the weighted means. */
  covariance(i: number, j: number): number {
    const ofMeans = this.#strata.reduce(
      (sum, stratum, s) => sum + (this.#weights[s]! ** 2 * stratum.covariance(i, j)) / stratum.n,
      0,
    );
    return this.n * ofMeans;
  }
}

/**
 * Makes the moments of two arms comparable stratum by stratum: both get the same weights, so that strata in which the arms have different
 * shares do not show as an effect. A stratum counts by the precision of its difference, n₁ n₂ ÷ (n₁ + n₂).
 * @param a, b moments by stratum, in the same order. Strata in which an arm has fewer than two units are left out.
 * @returns nothing where no stratum is left.
 */
export function stratified(
  a: readonly Moments[],
  b: readonly Moments[],
): readonly [a: MomentsView, b: MomentsView] | undefined {
  const used = a.flatMap((_, s) => (a[s]!.n >= 2 && b[s]!.n >= 2 ? [s] : []));
  if (used.length === 0) return undefined;
  const precision = used.map((s) => (a[s]!.n * b[s]!.n) / (a[s]!.n + b[s]!.n));
  const all = precision.reduce((sum, one) => sum + one, 0);
  const weights = precision.map((one) => one / all);
  const of = (arm: readonly Moments[]) =>
    new WeightedMoments(
      used.map((s) => arm[s]!),
      weights,
    );
  return [of(a), of(b)];
}
