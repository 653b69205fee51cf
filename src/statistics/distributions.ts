import { betaI, gammaP, gammaQ } from './special.ts';

/** A continuous distribution: `cdf` is P(X ≤ x), `sf` is P(X > x) with its own precision in the tail. */
export interface Distribution {
  readonly cdf: (x: number) => number;
  readonly sf: (x: number) => number;
  /** x with cdf(x) = p, 0 < p < 1; NaN outside [0, 1]. */
  readonly quantile: (p: number) => number;
}

/** Inverts an increasing function on [low, high] by bisection down to neighboring doubles. */
function invert(cdf: (x: number) => number, p: number, low: number, high: number): number {
  let [a, b] = [low, high];
  for (let i = 0; i < 200; i++) {
    const middle = a + (b - a) / 2;
    if (middle === a || middle === b) break;
    if (cdf(middle) < p) a = middle;
    else b = middle;
  }
  return a + (b - a) / 2;
}

/** Returns the first power of two at which `cdf` reaches `p`. */
export function upperBound(cdf: (x: number) => number, p: number): number {
  let x = 1;
  while (cdf(x) < p && x < 1e300) x *= 2;
  return x;
}

function quantileOfPositive(cdf: (x: number) => number, p: number): number {
  if (!(p >= 0 && p <= 1)) return Number.NaN;
  if (p === 0) return 0;
  return p === 1 ? Number.POSITIVE_INFINITY : invert(cdf, p, 0, upperBound(cdf, p));
}

/** Builds a distribution that is symmetric around 0 from its upper tail, so that both tails keep their precision. */
function symmetric(upper: (x: number) => number): Distribution {
  const sf = (x: number): number => (x >= 0 ? upper(x) : 1 - upper(-x));
  const lower = (p: number): number => {
    const reach = upperBound((x) => -upper(x), -p);
    return -invert((x) => -upper(x), -p, 0, reach);
  };
  const quantile = (p: number): number => {
    if (!(p >= 0 && p <= 1)) return Number.NaN;
    if (p === 0 || p === 1) return p === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    return p === 0.5 ? 0 : p < 0.5 ? lower(p) : -lower(1 - p);
  };
  return { sf, cdf: (x) => sf(-x), quantile };
}

/** Standard normal. */
export const normal: Distribution = symmetric((x) => gammaQ(0.5, (x * x) / 2) / 2);

/** Returns Student's t with `df` degrees of freedom (any positive number). */
export function studentT(df: number): Distribution {
  if (df === Number.POSITIVE_INFINITY) return normal;
  return symmetric((x) => {
    const square = x * x;
    return square === Number.POSITIVE_INFINITY ? 0 : betaI(df / 2, 0.5, df / (df + square), square / (df + square)) / 2;
  });
}

/** Returns χ² with `df` degrees of freedom. */
export function chiSquared(df: number): Distribution {
  const cdf = (x: number): number => gammaP(df / 2, x / 2);
  return { cdf, sf: (x) => gammaQ(df / 2, x / 2), quantile: (p) => quantileOfPositive(cdf, p) };
}

/** Returns Fisher's F with `d1` and `d2` degrees of freedom. */
export function fisherF(d1: number, d2: number): Distribution {
  const cdf = (x: number): number => betaI(d1 / 2, d2 / 2, (d1 * x) / (d1 * x + d2), d2 / (d1 * x + d2));
  const sf = (x: number): number => betaI(d2 / 2, d1 / 2, d2 / (d1 * x + d2), (d1 * x) / (d1 * x + d2));
  return { cdf, sf: (x) => (x > 0 ? sf(x) : 1), quantile: (p) => quantileOfPositive(cdf, p) };
}
