/*
 * Always-valid inference by asymptotic confidence sequences: the normal mixture of Robbins (1970) around an estimate, valid at all sample
 * sizes at once, so that looking at it every day costs nothing (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
 * theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2). It is the mixture sequential probability
 * ratio test of Johari, Koomen, Pekelis and Walsh (2017) turned into an interval.
 */

/** Units at which the interval is tightest relative to one of fixed horizon. It is valid at every number. */
export const TIGHTEST_AT = 10_000;

/** ρ² of the mixture that makes the interval tightest at `units` (the paper's approximation of the optimum). */
export function mixture(alpha: number, units = TIGHTEST_AT): number {
  const log = -2 * Math.log(alpha);
  return (log + Math.log(log + 1)) / units;
}

/** How many standard errors the interval reaches at `n` units, where one of fixed horizon reaches 1.96. */
export function sequentialReach(n: number, alpha: number, rho2 = mixture(alpha)): number {
  const scale = n * rho2;
  return Math.sqrt(((scale + 1) / scale) * (Math.log(scale + 1) - 2 * Math.log(alpha)));
}

/** Always-valid p-value: the smallest α whose interval leaves 0 out, for the mixture of `alpha`. */
export function sequentialP(z: number, n: number, rho2: number): number {
  const scale = n * rho2;
  return Math.min(1, Math.exp((Math.log(scale + 1) - (z * z * scale) / (scale + 1)) / 2));
}
