import { WinnowError } from '../../errors.ts';
import { createRandom, deriveSeed, type Random } from '../../util/random.ts';
import type { LabelNeed, Needs } from '../objectives/needs.ts';
import type { Sampler } from './data-schema.ts';
import { type CandidateList, hasOneWeight, originOf, pick } from './list-types.ts';
import { quantileAnchors, stratified } from './strata.ts';

/** Why a list is left out. */
type SkipReason =
  | 'no relevant passage'
  | 'no other passage'
  | 'no negative left by the filters'
  | 'no teacher score'
  | 'fewer than two passages';

type Sampled = CandidateList | SkipReason;

/** Draws `count` items, each once; fewer where there are fewer, unless they are repeated. */
function draw(items: readonly number[], count: number, random: Random, repeat = false): number[] {
  const once = random.shuffle([...items]).slice(0, count);
  while (repeat && items.length > 0 && once.length < count) once.push(items[random.below(items.length)]!);
  return once;
}

/**
 * Whether a passage with teacher score `low` is too good to be a negative of a positive with score `high`. By margin: above high − margin.
 * By ratio: above high − (1 − ratio)·|high|, which for positive scores is ratio·high (TopK-PercPos of NV-Retriever, arXiv 2407.15831)
 * and for negative ones lies below the positive.
 */
export function isFalseNegative(
  high: number,
  low: number,
  { teacherMargin, teacherRatio }: Pick<Sampler, 'teacherMargin' | 'teacherRatio'>,
): boolean {
  if (teacherMargin !== undefined && low > high - teacherMargin) return true;
  return teacherRatio !== undefined && low > high - (1 - teacherRatio) * Math.abs(high);
}

/** Drops passages that the filters take for relevant ones. */
function withoutFalseNegatives(
  { teacher }: CandidateList,
  positives: readonly number[],
  others: readonly number[],
  sampler: Sampler,
): readonly number[] {
  if (!teacher) return others;
  return others.filter((p) => !positives.some((q) => isFalseNegative(teacher[q]!, teacher[p]!, sampler)));
}

/**
 * Samples positives, then negatives: the form of list that pairwise and contrastive objectives expect. Other lists of the step give negatives to a
 * list without any, where the sampler says so.
 */
function withNegatives(list: CandidateList, sampler: Sampler, random: Random): Sampled {
  const [from, to] = sampler.negativeRanks ?? [1, list.passages.length];
  const places = [...list.passages.keys()];
  const relevant = places.filter((p) => list.relevance[p]! > 0);
  if (relevant.length === 0) return 'no relevant passage';
  const positives = draw(relevant, sampler.positives, random);
  const others = places.filter((p) => !(list.relevance[p]! > 0) && p + 1 >= from && p + 1 <= to);
  if (others.length === 0 && sampler.inBatch === 0) return 'no other passage';
  const kept = withoutFalseNegatives(list, positives, others, sampler);
  if (kept.length === 0 && sampler.inBatch === 0) return 'no negative left by the filters';
  return pick(list, [...positives, ...draw(kept, sampler.negatives, random, sampler.repeatNegatives)]);
}

const ascending = (places: number[]): number[] => places.sort((a, b) => a - b);

/** Takes all relevant passages, then others by the teacher's scores. */
function byStrata(list: CandidateList, sampler: Sampler, random: Random): Sampled {
  if (!list.teacher) return 'no teacher score';
  const places = [...list.passages.keys()];
  const relevant = places.filter((p) => list.relevance[p]! > 0);
  const others = places.filter((p) => !(list.relevance[p]! > 0));
  const kept = withoutFalseNegatives(list, relevant, others, sampler);
  if (others.length > 0 && kept.length === 0 && sampler.inBatch === 0) return 'no negative left by the filters';
  const { negatives: count, hardest } = sampler;
  return pick(list, [...relevant, ...stratified(kept, list.teacher, { count, hardest }, random)]);
}

const MODES: Readonly<Record<Sampler['mode'], (list: CandidateList, sampler: Sampler, random: Random) => Sampled>> = {
  negatives: withNegatives,
  window: (list, { depth }) => pick(list, [...list.passages.keys()].slice(0, depth)),
  list(list, { depth, size }, random) {
    const places = [...list.passages.keys()];
    const among = size === undefined ? places : places.slice(0, depth);
    return pick(list, ascending(random.shuffle(among).slice(0, size ?? depth)));
  },
  'as-is': (list) => list,
  stratified: byStrata,
  quantiles: (list, { size, depth }) =>
    list.teacher
      ? pick(list, quantileAnchors([...list.passages.keys()], list.teacher, size ?? depth))
      : 'no teacher score',
};

const randomOf = (list: CandidateList, seed: number): Random => createRandom(deriveSeed(seed, 'sample', list.qid));

const draft = (list: CandidateList, sampler: Sampler, seed: number): Sampled =>
  MODES[sampler.mode](list, sampler, randomOf(list, seed));

/** Returns what the list lacks of the objective's needs; with equal negatives, of every objective's needs. */
function missing(list: CandidateList, { equalNegatives }: Sampler, needed: Needs): SkipReason | undefined {
  if ((needed.relevance || equalNegatives) && !list.relevance.some((grade) => grade > 0)) return 'no relevant passage';
  if ((needed.teacher || equalNegatives) && !list.teacher) return 'no teacher score';
  return undefined;
}

/** The needs of no objective, for callers that only read the data. */
export const NOTHING: Needs = { relevance: false, teacher: false };

/**
 * Samples the passages of a list that a step sees, or returns why the list is left out. The draw depends on seed and query alone, so that
 * runs of different objectives with one seed see the same candidates in the same order. With `equalNegatives`, lists that one objective
 * could not use are left out for all.
 */
export function sample(list: CandidateList, sampler: Sampler, seed: number, needed: Needs = NOTHING): Sampled {
  const fault = missing(list, sampler, needed);
  if (fault) return fault;
  const sampled = draft(list, sampler, seed);
  if (typeof sampled === 'string') return sampled;
  // The sample may lack what the list had.
  const fewest = sampler.inBatch > 0 ? 1 : 2;
  return missing(sampled, sampler, needed) ?? (sampled.passages.length < fewest ? 'fewer than two passages' : sampled);
}

/** Refuses labels that the objective would read as something else. @throws WinnowError `invalid_input` that names the cure. */
function checkLabels({ query, relevance }: CandidateList, labels: LabelNeed | undefined): void {
  const wrong = (label: number): boolean =>
    labels === 'target' ? label > 1 : labels === 'binary' && label > 0 && label < 1;
  const label = relevance.find(wrong);
  if (label === undefined) return;
  const expected =
    labels === 'target'
      ? 'labels from 0 to 1 for this objective: set `minRelevance`, or `labelScale` for targets between 0 and 1'
      : 'labels of 0 or at least 1 for this objective: set `minRelevance`';
  throw new WinnowError('invalid_input', {
    where: `training data, query "${query.slice(0, 60)}"`,
    expected,
    got: label,
  });
}

/** Refuses labels of 0 and 1 in place of a teacher's scores: their differences are no margins. @throws WinnowError `invalid_input`. */
function checkMargins({ query, teacher, labeled }: CandidateList, needed: Needs): void {
  if (!labeled || !teacher || !needed.teacher || needed.labels !== 'binary') return;
  if (!teacher.every((score) => score === 0 || score === 1)) return;
  throw new WinnowError('invalid_input', {
    where: `training data, query "${query.slice(0, 60)}"`,
    expected:
      'a teacher’s scores or margins for this objective: `winnow score` writes scores, `teacher` of the source reads them; BCE and InfoNCE learn from labels',
    got: 'labels of 0 and 1',
  });
}

/** Refuses lists whose passages have different weights where the objective weighs whole lists. @throws WinnowError `invalid_input`. */
function checkWeights(list: CandidateList, { weights: needed }: Needs): void {
  if (needed !== 'lists' || hasOneWeight(list)) return;
  const different = [...new Set(list.weights)];
  throw new WinnowError('invalid_input', {
    where: `${originOf(list)?.where ?? 'training data'}, query "${list.query.slice(0, 60)}"`,
    expected:
      'one weight for all passages of a query with this objective, whose loss is one of lists; BCE and MSE weigh passages one by one',
    got: `weights ${different.slice(0, 5).join(', ')}`,
  });
}

/** Returns every passage of a labeled list, in lists of the sampler's size. */
function everyPassage(list: CandidateList, sampler: Sampler, seed: number): CandidateList[] {
  const size = sampler.positives + sampler.negatives;
  const places = randomOf(list, seed).shuffle([...list.passages.keys()]);
  const parts = Array.from({ length: Math.ceil(places.length / size) }, (_, i) =>
    places.slice(i * size, (i + 1) * size),
  );
  return parts.map((part) => pick(list, ascending(part)));
}

/** Whether each passage of the list can be learned from by itself: by its label, or by its teacher score. */
const isPointwise = ({ labeled, teacher }: CandidateList, needed: Needs): boolean =>
  needed.pointwise === true ? teacher !== undefined : labeled !== undefined && needed.labels === 'target';

/**
 * Samples the lists that steps see of one list, or returns why it is left out. Where the objective learns from single labels or teacher scores,
 * all passages of such a list are seen in each pass: a list needs no relevant and no other passage. `equalNegatives` samples for it as for the others.
 */
export function samples(
  list: CandidateList,
  sampler: Sampler,
  seed: number,
  needed: Needs = NOTHING,
): readonly CandidateList[] | SkipReason {
  if (list.labeled === 'as given') checkLabels(list, needed.labels);
  checkMargins(list, needed);
  checkWeights(list, needed);
  const readsLabels = !sampler.equalNegatives && isPointwise(list, needed);
  if (readsLabels && sampler.mode === 'negatives') return everyPassage(list, sampler, seed);
  const sampled = readsLabels ? draft(list, sampler, seed) : sample(list, sampler, seed, needed);
  return typeof sampled === 'string' ? sampled : [sampled];
}
