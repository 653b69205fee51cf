/*
 * How far below the early score of place n a passage may lie and still be kept. The passages that a full ranking puts first tell it: of the
 * calibration lists, the wanted part of them lies within the margin (the quantile of split conformal prediction, Vovk 2005).
 */

/** Early scores and scores of one candidate list, by passage. */
export interface ScoredList {
  readonly early: Float32Array;
  readonly scores: Float32Array;
}

/** Returns the value at place `n` (from 1) in falling order. */
const nth = (values: Float32Array, n: number): number => values.toSorted()[values.length - n]!;

/** Returns how far the early score of each of the first `n` passages lies below the early score of place `n`; negative where it is above. */
export function gaps({ early, scores }: ScoredList, n: number): number[] {
  const bound = nth(early, n);
  const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.slice(0, n).map((i) => bound - early[i]!);
}

/**
 * Returns the smallest margin with which at least `recall` of the first `n` passages stay, never below 0; undefined where the lists are too few
 * to tell.
 */
export function marginOf(lists: readonly ScoredList[], n: number, recall: number): number | undefined {
  const found = lists.filter(({ scores }) => scores.length > n).flatMap((list) => gaps(list, n));
  const place = Math.ceil((found.length + 1) * recall);
  if (found.length === 0 || place > found.length) return undefined;
  return Math.max(0, Float64Array.from(found).sort()[place - 1]!);
}

/** Returns the part of the passages that stay with a margin, and the part of the first `n` among them, over all lists longer than `n`. */
export function kept(lists: readonly ScoredList[], n: number, margin: number): { rows: number; recall: number } {
  let [rows, staying, first, found] = [0, 0, 0, 0];
  for (const list of lists.filter(({ scores }) => scores.length > n)) {
    const bound = nth(list.early, n) - margin;
    rows += list.early.length;
    staying += list.early.filter((early) => early >= bound).length;
    first += n;
    found += gaps(list, n).filter((gap) => gap <= margin).length;
  }
  return { rows: rows > 0 ? staying / rows : 1, recall: first > 0 ? found / first : 1 };
}
