import type { FirstStage } from '../../evaluation/first-stage/first-stage.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import { hasOneWeight, type IdentifiedList, type SkipCount } from '../data/list-types.ts';
import { isFalseNegative } from '../data/sampler.ts';
import type { TeacherScores } from '../data/teacher.ts';

export interface MineSettings {
  /** Ranks negatives are taken from, both ends included. */
  readonly ranks: readonly [from: number, to: number];
  readonly negatives: number;
  /** `top`: the best-ranked that pass the filters; `random`: drawn among them. */
  readonly strategy: 'top' | 'random';
  readonly teacherMargin?: number | undefined;
  readonly teacherRatio?: number | undefined;
  readonly seed: number;
}

/** A row in the format of FlagEmbedding, which sentence-transformers also reads. */
interface MinedRow {
  readonly query: string;
  readonly pos: readonly string[];
  readonly neg: readonly string[];
  readonly pos_scores?: readonly number[];
  readonly neg_scores?: readonly number[];
  readonly weight?: number;
}

/**
 * Returns the hard negatives of one query: passages of the given ranks that are not relevant and, if the teacher knows them, do not score too
 * close to a positive. Passages that the teacher does not know are kept.
 * @param ranked ids of the first stage, best first. @param known the teacher's scores for this query.
 */
export function mineQuery(
  qid: string,
  positives: readonly string[],
  ranked: readonly string[],
  known: ReadonlyMap<string, number> | undefined,
  settings: MineSettings,
): string[] {
  const [from, to] = settings.ranks;
  const relevant = new Set(positives);
  const high = positives.flatMap((docid) => known?.get(docid) ?? []);
  const passes = (docid: string): boolean => {
    const low = known?.get(docid);
    return (
      low === undefined ||
      !high.some((score) => isFalseNegative(score, low, settings as Parameters<typeof isFalseNegative>[2]))
    );
  };
  const kept = ranked.slice(from - 1, to).filter((docid) => !relevant.has(docid) && passes(docid));
  if (settings.strategy === 'random') createRandom(deriveSeed(settings.seed, 'mine', qid)).shuffle(kept);
  return kept.slice(0, settings.negatives);
}

/** Where negatives are mined from. */
interface MineSource {
  readonly lists: AsyncIterable<IdentifiedList>;
  readonly firstStage: FirstStage;
  readonly texts: (ids: readonly string[]) => Promise<readonly string[]>;
  readonly teacher: TeacherScores | undefined;
  readonly counts: SkipCount;
}

/** Returns the scores of ids, undefined unless the teacher knows them all. */
function scoresOf(ids: readonly string[], known: ReadonlyMap<string, number> | undefined): number[] | undefined {
  const scores = ids.flatMap((docid) => known?.get(docid) ?? []);
  return scores.length === ids.length ? scores : undefined;
}

/** Yields a row with negatives for every list that has a positive and negatives; the others are counted. */
export async function* mine(source: MineSource, settings: MineSettings): AsyncGenerator<MinedRow> {
  for await (const list of source.lists) {
    const positives = list.docids.filter((_, i) => list.relevance[i]! > 0);
    if (positives.length === 0) {
      source.counts.skip('no relevant passage');
      continue;
    }
    const run = await source.firstStage.retrieve(new Map([[list.qid, list.query]]), settings.ranks[1]);
    const known = source.teacher?.get(list.qid);
    const negatives = mineQuery(list.qid, positives, run.get(list.qid)?.docids ?? [], known, settings);
    if (negatives.length === 0) {
      source.counts.skip('no negative in these ranks');
      continue;
    }
    const { weights } = list;
    const weighs = weights !== undefined && hasOneWeight(list);
    if (weights && !weighs)
      source.counts.drop('weights of a list that differ, which its mined row does not have', weights.length);
    const [high, low] = [scoresOf(positives, known), scoresOf(negatives, known)];
    yield {
      query: list.query,
      pos: list.passages.filter((_, i) => list.relevance[i]! > 0),
      neg: await source.texts(negatives),
      ...(high && low && { pos_scores: high, neg_scores: low }),
      ...(weighs && { weight: weights[0]! }),
    };
  }
}
