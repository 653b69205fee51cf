import type { Random } from '../../util/random.ts';

/*
 * Candidates chosen by the teacher's scores, so that a list shows the whole range that a re-ranker meets and not only what is hard or what is
 * common.
 */

/** Returns places by falling score; equal scores keep their order. */
const byScore = (places: readonly number[], scores: readonly number[]): number[] =>
  places.toSorted((a, b) => scores[b]! - scores[a]! || a - b);

/** Splits into `count` runs whose lengths differ by at most one. */
const evenRuns = (items: readonly number[], count: number): number[][] =>
  Array.from({ length: count }, (_, i) =>
    items.slice(Math.round((i * items.length) / count), Math.round(((i + 1) * items.length) / count)),
  );

/**
 * Chooses the `hardest` places with the highest scores, and one at random from each of as many equal strata of the others as are missing to
 * `count`. Each place is chosen once; where there are fewer than `count`, all are.
 */
export function stratified(
  places: readonly number[],
  scores: readonly number[],
  { count, hardest }: { readonly count: number; readonly hardest: number },
  random: Random,
): number[] {
  const ordered = byScore(places, scores);
  if (ordered.length <= count) return ordered;
  const top = Math.min(hardest, count);
  const strata = evenRuns(ordered.slice(top), count - top);
  return [...ordered.slice(0, top), ...strata.map((stratum) => stratum[random.below(stratum.length)]!)];
}

/** Returns the places at `count` evenly spaced quantiles of the scores, the highest and the lowest among them, best first. */
export function quantileAnchors(places: readonly number[], scores: readonly number[], count: number): number[] {
  const ordered = byScore(places, scores);
  if (ordered.length <= count) return ordered;
  return Array.from({ length: count }, (_, i) => ordered[Math.round((i * (ordered.length - 1)) / (count - 1))]!);
}
