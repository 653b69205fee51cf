import { type Distribution, normal, upperBound } from './distributions.ts';
import { lnGamma } from './special.ts';

/**
 * Both integrals of the studentized range are computed by the trapezoidal rule, which converges geometrically for integrands that are
 * analytic and vanish at both ends (Trefethen and Weideman 2014): about 1e-12 with the steps below.
 */
const STEP = 0.2;
const REACH = 8.4;

interface Node {
  readonly z: number;
  readonly cdf: number;
  readonly weight: number;
}

const NODES: readonly Node[] = Array.from({ length: Math.round((2 * REACH) / STEP) + 1 }, (_, i) => {
  const z = -REACH + i * STEP;
  return { z, cdf: normal.cdf(z), weight: (STEP * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI) };
});

/** P(range of k standard normals ≤ w) = k ∫ φ(z) (Φ(z) − Φ(z − w))^(k−1) dz. */
function rangeCdf(w: number, k: number): number {
  if (w <= 0) return 0;
  let sum = 0;
  for (const { z, cdf, weight } of NODES) sum += weight * (cdf - normal.cdf(z - w)) ** (k - 1);
  return Math.min(1, k * sum);
}

/** Density of t = ln s, where s is the standard deviation estimated with `df` degrees of freedom over its expectation. */
function logScaleDensity(t: number, df: number): number {
  const half = df / 2;
  return Math.exp(Math.LN2 + half * Math.log(half) - lnGamma(half) + df * t - half * Math.exp(2 * t));
}

interface ScaleNode {
  readonly scale: number;
  readonly weight: number;
}

function scaleNodes(df: number): ScaleNode[] {
  const width = 1 / Math.sqrt(2 * df);
  const step = 0.25 * Math.min(width, 0.7);
  const nodes: ScaleNode[] = [];
  const collect = (from: number, by: number): void => {
    for (let t = from; ; t += by) {
      const weight = step * logScaleDensity(t, df);
      if (weight < 1e-17) return;
      nodes.push({ scale: Math.exp(t), weight });
    }
  };
  collect(0, step);
  collect(-step, -step);
  return nodes;
}

/**
 * Returns the distribution of the studentized range of `k` ≥ 2 means with `df` degrees of freedom (may be infinite), the base of Nemenyi's
 * test. Absolute error below 1e-9.
 */
export function studentizedRange(k: number, df: number): Distribution {
  const nodes = df === Number.POSITIVE_INFINITY ? [{ scale: 1, weight: 1 }] : scaleNodes(df);
  const cdf = (q: number): number => {
    if (!(q > 0)) return 0;
    let sum = 0;
    for (const { scale, weight } of nodes) sum += weight * rangeCdf(q * scale, k);
    return Math.min(1, sum);
  };
  return {
    cdf,
    sf: (q) => 1 - cdf(q),
    quantile: (p) => (p > 0 && p < 1 ? quantile(cdf, p) : p === 0 ? 0 : Number.NaN),
  };
}

/** Inverts a cdf by secant steps inside a bracket (Illinois rule): each value costs thousands of exponentials, too slow for bisection. */
function quantile(cdf: (x: number) => number, p: number): number {
  let low = 0;
  let high = upperBound(cdf, p);
  let below = -p;
  let above = cdf(high) - p;
  for (let i = 0; i < 100 && high - low > 1e-12 * high; i++) {
    const x = low + ((high - low) * -below) / (above - below);
    const value = cdf(x) - p;
    if (Math.abs(value) < 1e-15) return x;
    if (value < 0) {
      [low, below] = [x, value];
      above /= 2;
    } else {
      [high, above] = [x, value];
      below /= 2;
    }
  }
  return (low + high) / 2;
}
