import { createRandom, deriveSeed, type Random } from '../../util/random.ts';
import type { Sampler } from './schema.ts';
import type { CandidateList } from './types.ts';

/** Why a list gives nothing to learn from. */
type SkipReason =
  | 'no relevant passage'
  | 'no other passage'
  | 'no negative left by the filters'
  | 'no teacher score'
  | 'fewer than two passages';

type Sampled = CandidateList | SkipReason;

/** What the objective cannot do without. */
export interface Needed {
  readonly relevance: boolean;
  readonly teacher: boolean;
}

/** The passages at these places of a list, in this order. */
function pick(list: CandidateList, places: readonly number[]): CandidateList {
  const { teacher, docids } = list;
  return {
    qid: list.qid,
    query: list.query,
    ...(docids && { docids: places.map((p) => docids[p]!) }),
    passages: places.map((p) => list.passages[p]!),
    relevance: places.map((p) => list.relevance[p]!),
    ...(teacher && { teacher: places.map((p) => teacher[p]!) }),
  };
}

/** `count` of the items without repetition where there are enough, else all of them and repeats. */
function draw(items: readonly number[], count: number, random: Random): number[] {
  const once = random.shuffle([...items]).slice(0, count);
  while (once.length < count) once.push(items[random.below(items.length)]!);
  return once;
}

/**
 * Is a passage with teacher score `low` too good to pass for a negative of a positive with `high`? Absolute margin: above high − margin.
 * Relative: above high − (1 − ratio)·|high|, which for positive scores is ratio·high (TopK-PercPos of NV-Retriever, arXiv 2407.15831)
 * and stays below the positive for negative ones.
 */
export function tooGood(
  high: number,
  low: number,
  { teacherMargin, teacherRatio }: Pick<Sampler, 'teacherMargin' | 'teacherRatio'>,
): boolean {
  if (teacherMargin !== undefined && low > high - teacherMargin) return true;
  return teacherRatio !== undefined && low > high - (1 - teacherRatio) * Math.abs(high);
}

/** Positives, then their negatives: the shape pairwise and contrastive objectives are defined on. */
function withNegatives(list: CandidateList, sampler: Sampler, random: Random): Sampled {
  const { teacher } = list;
  const [from, to] = sampler.negativeRanks ?? [1, list.passages.length];
  const places = [...list.passages.keys()];
  const relevant = places.filter((p) => list.relevance[p]! > 0);
  if (relevant.length === 0) return 'no relevant passage';
  const positives = draw(relevant, Math.min(sampler.positives, relevant.length), random);
  const others = places.filter((p) => !(list.relevance[p]! > 0) && p + 1 >= from && p + 1 <= to);
  if (others.length === 0) return 'no other passage';
  const kept = teacher
    ? others.filter((p) => !positives.some((q) => tooGood(teacher[q]!, teacher[p]!, sampler)))
    : others;
  if (kept.length === 0) return 'no negative left by the filters';
  return pick(list, [...positives, ...draw(kept, sampler.negatives, random)]);
}

const ascending = (places: number[]): number[] => places.sort((a, b) => a - b);

const MODES: Readonly<Record<Sampler['mode'], (list: CandidateList, sampler: Sampler, random: Random) => Sampled>> = {
  negatives: withNegatives,
  window: (list, { depth }) => pick(list, [...list.passages.keys()].slice(0, depth)),
  list(list, { depth, size }, random) {
    const places = [...list.passages.keys()];
    const among = size === undefined ? places : places.slice(0, depth);
    return pick(list, ascending(random.shuffle(among).slice(0, size ?? depth)));
  },
  'as-is': (list) => list,
};

/** What a list must carry: all an objective needs; with equal negatives, all that any objective needs. */
function missing(list: CandidateList, { equalNegatives }: Sampler, needed: Needed): SkipReason | undefined {
  if ((needed.relevance || equalNegatives) && !list.relevance.some((grade) => grade > 0)) return 'no relevant passage';
  if ((needed.teacher || equalNegatives) && !list.teacher) return 'no teacher score';
  return undefined;
}

/** An objective that needs nothing, for callers that only look at the data. */
export const NOTHING: Needed = { relevance: false, teacher: false };

/**
 * Draws what a step sees of a list. The draw depends on seed and query alone, so that runs of different objectives with one seed see the
 * same candidates in the same order; `equalNegatives` also leaves out for all what one of them could not use.
 */
export function sample(list: CandidateList, sampler: Sampler, seed: number, needed: Needed = NOTHING): Sampled {
  const fault = missing(list, sampler, needed);
  if (fault) return fault;
  const random = createRandom(deriveSeed(seed, 'sample', list.qid));
  const sampled = MODES[sampler.mode](list, sampler, random);
  if (typeof sampled === 'string') return sampled;
  // A window may have lost what the list had.
  return missing(sampled, sampler, needed) ?? (sampled.passages.length < 2 ? 'fewer than two passages' : sampled);
}
