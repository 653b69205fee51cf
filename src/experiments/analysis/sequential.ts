/*
 * Always-valid inference by asymptotic confidence sequences: the normal mixture of Robbins (1970) around an estimate. It is valid at all
 * sample sizes at once, so that it may be read every day (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
 * theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2). It is the mixture sequential probability
 * ratio test of Johari, Koomen, Pekelis and Walsh (2017) turned into an interval.
 */

/** Units at which the interval is tightest relative to one of fixed horizon. It is valid at every number. */
const TIGHTEST_AT = 10_000;

/** Returns ρ² of the mixture whose interval is tightest at `units` (the paper's approximation of the optimum). */
export function mixture(alpha: number, units = TIGHTEST_AT): number {
  const log = -2 * Math.log(alpha);
  return (log + Math.log(log + 1)) / units;
}

/** Returns the half-width of the interval at `n` units, in standard errors; one of fixed horizon has 1.96 at α = .05. */
export function sequentialReach(n: number, alpha: number, rho2 = mixture(alpha)): number {
  const scale = n * rho2;
  return Math.sqrt(((scale + 1) / scale) * (Math.log(scale + 1) - 2 * Math.log(alpha)));
}

/** Returns the always-valid p-value of an estimate `z` standard errors from 0: the smallest α whose interval leaves 0 out. */
export function sequentialP(z: number, n: number, rho2: number): number {
  const scale = n * rho2;
  return Math.min(1, Math.exp((Math.log(scale + 1) - (z * z * scale) / (scale + 1)) / 2));
}
