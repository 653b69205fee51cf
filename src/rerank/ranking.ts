import { WinnowError } from '../errors.ts';
import { probabilityOf, type ScoreMap } from '../registry/calibration.ts';
import type { Activation, ServedVersion } from '../registry/registry-types.ts';
import type { Ranked } from './rerank-types.ts';

/*
 * Scores are fp32 logits, relevance scores fp32 values after the activation. Passages are ordered by logits, because a sigmoid in fp32
 * maps many of them to one value. The activation, or the map that a calibration put in its place, is applied last and keeps the order.
 */

/** How a version turns scores into relevance scores. */
type Relevance = Activation | ScoreMap;

/** Returns how a version turns scores into relevance scores. */
export const relevanceOf = ({
  activation,
  calibration,
}: Pick<ServedVersion, 'activation' | 'calibration'>): Relevance => calibration?.map ?? activation;

const ACTIVATIONS: Readonly<Record<Activation, (score: number) => number>> = {
  // Exact to half a unit in the last place of fp32 and monotone: evaluated in double precision, rounded once. exp may overflow: 1/∞ is 0.
  sigmoid: (score) => Math.fround(1 / (1 + Math.exp(-score))),
  none: (score) => Math.fround(score),
};

/** Applies a model's activation or calibration to an fp32 logit. */
export function relevanceScore(score: number, how: Relevance): number {
  return typeof how === 'string' ? ACTIVATIONS[how](score) : Math.fround(probabilityOf(how, score));
}

/** @param rows with equally many values each. @throws WinnowError `not_a_number` naming the first row without a score. */
export function checkScores(scores: Float32Array, rows = scores.length): void {
  const bad = scores.findIndex(Number.isNaN);
  if (bad >= 0) throw new WinnowError('not_a_number', { row: Math.floor((bad * rows) / scores.length) });
}

/** Returns indexes by descending score, ties by ascending index. */
export function rankOrder(scores: Float32Array): Int32Array {
  const order = Int32Array.from(scores, (_, i) => i);
  return order.sort((a, b) => {
    const [x, y] = [scores[a]!, scores[b]!];
    return x > y ? -1 : x < y ? 1 : a - b;
  });
}

/**
 * Returns the items of a ranking whose relevance score is at least `least`, rounded to float32 as scores are: a score that a client has read
 * and sends back keeps its passage.
 */
export function atLeast(ranking: readonly Ranked[], least: number): readonly Ranked[] {
  const limit = Math.fround(least);
  return ranking.filter(({ relevanceScore: score }) => score >= limit);
}

/** Ranks passages that were all scored by one model. @param without places of passages that have no score. */
export function rank(scores: Float32Array, how: Relevance, without: readonly number[] = []): Ranked[] {
  const left = new Set(without);
  const order = Array.from(rankOrder(scores)).filter((index) => !left.has(index));
  return order.map((index) => {
    const score = scores[index]!;
    return { index, score, relevanceScore: relevanceScore(score, how) };
  });
}

/**
 * Lowers every score that is above the one before it in a merged ranking. Scores of several models do not compare, but clients sort by
 * them: after this a stable sort by either score keeps the ranking.
 */
export function neverRising(ranking: readonly Ranked[]): Ranked[] {
  let score = Number.POSITIVE_INFINITY;
  let relevance = Number.POSITIVE_INFINITY;
  return ranking.map((item) => {
    score = Math.min(score, item.score);
    relevance = Math.min(relevance, item.relevanceScore);
    return { ...item, score, relevanceScore: relevance };
  });
}
