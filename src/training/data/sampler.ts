import { createRandom, deriveSeed, type Random } from '../../random.ts';
import type { Sampler } from './schema.ts';
import type { CandidateList } from './types.ts';

/** Why a list gives nothing to learn from. */
export type SkipReason = 'no relevant passage' | 'no other passage' | 'fewer than two passages';

type Sampled = CandidateList | SkipReason;

/** The passages at these places of a list, in this order. */
function pick(list: CandidateList, places: readonly number[]): CandidateList {
  const { teacher } = list;
  return {
    qid: list.qid,
    query: list.query,
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

/** Is the passage too good, by its teacher's score, to pass for a negative of this positive? */
function falseNegative(list: CandidateList, positive: number, other: number, sampler: Sampler): boolean {
  const { teacher } = list;
  if (!teacher) return false;
  const [high, low] = [teacher[positive]!, teacher[other]!];
  if (sampler.teacherMargin !== undefined && low > high - sampler.teacherMargin) return true;
  return sampler.teacherRatio !== undefined && low > high * sampler.teacherRatio;
}

/** One positive a list, then its negatives: the shape pairwise and contrastive objectives are defined on. */
function withNegatives(list: CandidateList, sampler: Sampler, random: Random): Sampled {
  const [from, to] = sampler.negativeRanks ?? [1, list.passages.length];
  const places = [...list.passages.keys()];
  const relevant = places.filter((p) => list.relevance[p]! > 0);
  if (relevant.length === 0) return 'no relevant passage';
  const positives = draw(relevant, Math.min(sampler.positives, relevant.length), random);
  const others = places.filter(
    (p) =>
      !(list.relevance[p]! > 0) &&
      p + 1 >= from &&
      p + 1 <= to &&
      !positives.some((q) => falseNegative(list, q, p, sampler)),
  );
  if (others.length === 0) return 'no other passage';
  return pick(list, [...positives, ...draw(others, sampler.negatives, random)]);
}

const MODES: Readonly<Record<Sampler['mode'], (list: CandidateList, sampler: Sampler, random: Random) => Sampled>> = {
  negatives: withNegatives,
  window: (list, { depth }) => pick(list, [...list.passages.keys()].slice(0, depth)),
  list(list, { depth }, random) {
    const places = random.shuffle([...list.passages.keys()]).slice(0, depth);
    return pick(
      list,
      places.sort((a, b) => a - b),
    );
  },
  'as-is': (list) => list,
};

/**
 * Draws what a step sees of a list. The draw depends on seed and query alone, so that runs of different objectives with one seed see the
 * same candidates in the same order.
 */
export function sample(list: CandidateList, sampler: Sampler, seed: number): Sampled {
  const random = createRandom(deriveSeed(seed, 'sample', list.qid));
  const sampled = MODES[sampler.mode](list, sampler, random);
  return typeof sampled !== 'string' && sampled.passages.length < 2 ? 'fewer than two passages' : sampled;
}
