import { normal } from './distributions.ts';
import { averageRanks, tieTerm } from './ranks.ts';
import { differences } from './samples.ts';
import type { TestResult } from './t-tests.ts';

type WilcoxonMethod = 'auto' | 'exact' | 'normal';

interface WilcoxonOptions {
  readonly method?: WilcoxonMethod;
  /** Moves the statistic by ½ towards its mean before the normal approximation. */
  readonly correction?: boolean;
}

interface WilcoxonResult extends TestResult {
  /** How p was found. */
  readonly method: 'exact' | 'normal';
}

/** SciPy's limits: exact up to 50 pairs without ties or zeros, all sign assignments up to 13 pairs with them. */
const EXACT_PAIRS = 50;
const EXACT_TIED_PAIRS = 13;

/** Counts the sign assignments per rank sum, over doubled ranks, so that shared ranks are whole numbers. */
function rankSumCounts(ranks: ArrayLike<number>): Float64Array {
  const doubled = Array.from(ranks, (rank) => Math.round(2 * rank));
  const counts = new Float64Array(doubled.reduce((a, b) => a + b, 0) + 1);
  counts[0] = 1;
  let top = 0;
  for (const rank of doubled) {
    top += rank;
    for (let sum = top; sum >= rank; sum--) counts[sum]! += counts[sum - rank]!;
  }
  return counts;
}

function exactP(ranks: ArrayLike<number>, plus: number): number {
  const counts = rankSumCounts(ranks);
  const seen = Math.round(2 * plus);
  let below = 0;
  let above = 0;
  counts.forEach((count, sum) => {
    if (sum <= seen) below += count;
    if (sum >= seen) above += count;
  });
  return Math.min(1, (2 * Math.min(below, above)) / 2 ** ranks.length);
}

function normalP(d: Float64Array, plus: number, correction: boolean): number {
  const n = d.length;
  const variance = (n * (n + 1) * (2 * n + 1)) / 24 - tieTerm(d.map(Math.abs)) / 48;
  const distance = Math.abs(plus - (n * (n + 1)) / 4);
  const z = (correction && distance > 0 ? distance - 0.5 : distance) / Math.sqrt(variance);
  return 2 * normal.sf(z);
}

function choose(method: WilcoxonMethod, pairs: number, clean: boolean): 'exact' | 'normal' {
  if (method !== 'auto') return method;
  return pairs <= (clean ? EXACT_PAIRS : EXACT_TIED_PAIRS) ? 'exact' : 'normal';
}

/**
 * Computes Wilcoxon's signed-rank test of paired samples, two-sided, without zero differences. The modes are SciPy's: exact for small
 * samples (shared ranks included), normal approximation with tie correction otherwise. The statistic is the smaller rank sum.
 */
export function wilcoxon(a: ArrayLike<number>, b: ArrayLike<number>, options: WilcoxonOptions = {}): WilcoxonResult {
  const all = differences(a, b);
  const d = all.filter((x) => x !== 0);
  const ranks = averageRanks(d.map(Math.abs));
  const plus = ranks.reduce((sum, rank, i) => (d[i]! > 0 ? sum + rank : sum), 0);
  const clean = d.length === all.length && tieTerm(d.map(Math.abs)) === 0;
  const method = choose(options.method ?? 'auto', all.length, clean);
  if (d.length === 0) return { statistic: 0, p: method === 'exact' ? 1 : Number.NaN, method };
  const p = method === 'exact' ? exactP(ranks, plus) : normalP(d, plus, options.correction ?? false);
  return { statistic: Math.min(plus, (d.length * (d.length + 1)) / 2 - plus), p, method };
}
