import { lnGamma } from './special.ts';

/** Hits among trials. */
export interface Share {
  readonly hits: number;
  readonly trials: number;
}

const lnChoose = (n: number, k: number) => lnGamma(n + 1) - lnGamma(k + 1) - lnGamma(n - k + 1);

/**
 * Returns the one-sided p-value of Fisher's exact test that `a` has a larger share of hits than `b`: the chance of at least so many of all
 * hits in `a`. Without trials in one of them it is 1.
 */
export function fisherExactGreater(a: Share, b: Share): number {
  if (a.trials === 0 || b.trials === 0) return 1;
  const hits = a.hits + b.hits;
  const all = lnChoose(a.trials + b.trials, hits);
  let p = 0;
  for (let k = a.hits; k <= Math.min(hits, a.trials); k++)
    if (hits - k <= b.trials) p += Math.exp(lnChoose(a.trials, k) + lnChoose(b.trials, hits - k) - all);
  return Math.min(1, p);
}
