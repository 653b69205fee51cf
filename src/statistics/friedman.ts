import { WinnowError } from '../errors.ts';
import { chiSquared, fisherF } from './distributions.ts';
import { averageRanks, tieTerm } from './ranks.ts';
import { studentizedRange } from './studentized-range.ts';

/** Blocks (data sets, queries) × treatments (systems); one row a block. Higher values are better. */
type Blocks = readonly (readonly number[])[];

export interface FriedmanResult {
  /** χ² statistic. */
  readonly statistic: number;
  readonly df: number;
  readonly p: number;
  readonly blocks: number;
  /** Mean rank of every treatment, 1 the best; equal values share the mean of their ranks. */
  readonly averageRanks: readonly number[];
  /** Iman and Davenport's F, less conservative than χ². */
  readonly imanDavenport: { readonly statistic: number; readonly p: number };
}

function check(blocks: Blocks): number {
  const k = blocks[0]?.length ?? 0;
  const uneven = blocks.findIndex((row) => row.length !== k);
  if (k < 2 || uneven >= 0)
    throw new WinnowError('invalid_input', {
      where: 'Friedman test',
      expected: k < 2 ? 'at least 2 treatments' : `${k} values in every block`,
      got: k < 2 ? k : `${blocks[uneven]!.length} in block ${uneven + 1}`,
    });
  return k;
}

/** Returns the ranks within each block, 1 the best; equal values share the mean of their ranks. */
export const blockRanks = (blocks: Blocks): Float64Array[] =>
  blocks.map((row) => averageRanks(row.map((value) => -value)));

/** Returns the mean rank of each treatment over the blocks, 1 the best. */
export function meanRanks(blocks: Blocks): number[] {
  const k = check(blocks);
  const ranks = blockRanks(blocks);
  return Array.from({ length: k }, (_, j) => ranks.reduce((sum, row) => sum + row[j]!, 0) / blocks.length);
}

/**
 * Tests that all treatments are equal (Friedman). `tieCorrection` divides by 1 − Σ(t³ − t) / (N k (k² − 1)), as SciPy's
 * `friedmanchisquare` does; without it the statistic is that of Demšar (2006).
 */
export function friedman(blocks: Blocks, { tieCorrection = true }: { tieCorrection?: boolean } = {}): FriedmanResult {
  const k = check(blocks);
  const n = blocks.length;
  const ranks = meanRanks(blocks);
  const plain = ((12 * n) / (k * (k + 1))) * (ranks.reduce((sum, r) => sum + r * r, 0) - (k * (k + 1) ** 2) / 4);
  const ties = blocks.reduce((sum, row) => sum + tieTerm(row), 0);
  const statistic = tieCorrection ? plain / (1 - ties / (n * k * (k * k - 1))) : plain;
  const f = ((n - 1) * statistic) / (n * (k - 1) - statistic);
  return {
    statistic,
    df: k - 1,
    p: chiSquared(k - 1).sf(statistic),
    blocks: n,
    averageRanks: ranks,
    imanDavenport: { statistic: f, p: fisherF(k - 1, (k - 1) * (n - 1)).sf(f) },
  };
}

/** Returns Nemenyi's critical difference of mean ranks: q_α(k, ∞) / √2 · √(k (k + 1) / 6N). */
export function criticalDifference(treatments: number, blocks: number, alpha = 0.05): number {
  const q = studentizedRange(treatments, Number.POSITIVE_INFINITY).quantile(1 - alpha) / Math.SQRT2;
  return q * Math.sqrt((treatments * (treatments + 1)) / (6 * blocks));
}

/** Returns the maximal groups of treatments whose mean ranks lie within `cd` of each other, best first, without groups of one. */
export function cliques(ranks: readonly number[], cd: number): number[][] {
  const order = ranks.map((_, i) => i).sort((a, b) => ranks[a]! - ranks[b]!);
  const groups: number[][] = [];
  let reached = 0;
  order.forEach((first, start) => {
    let end = start;
    while (end + 1 < order.length && ranks[order[end + 1]!]! - ranks[first]! <= cd) end++;
    if (end > start && end > reached) {
      groups.push(order.slice(start, end + 1));
      reached = end;
    }
  });
  return groups;
}
