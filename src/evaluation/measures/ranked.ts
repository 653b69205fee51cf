import type { HitList, Ties } from './hits.ts';

/** Grades of the judged documents of one query. Negative grades count as unjudged but pooled, as trec_eval counts them. */
type Judgements = ReadonlyMap<string, number>;
/** Query → document → grade. */
export type Qrels = ReadonlyMap<string, Judgements>;

/** Grade of documents outside the pool. */
const UNJUDGED = -1;
/** Grade of documents in the pool that were not judged: those with a negative grade in the qrels (infAP). */
export const POOLED = -2;

/** Input of every calculator: one query's ranking as a list of grades, and how many documents carry each grade. */
export interface RankedQuery {
  /** Grade by rank; below 0 for documents without a judgement, `POOLED` for those that were in the pool. */
  readonly grades: Int32Array;
  /** Number of judged documents of grade 0, 1, 2 …, retrieved or not. */
  readonly levels: Int32Array;
  /** Decodes the docids by rank. */
  readonly docids: () => string[];
  /** The ranking of another run for the same query, for measures that compare two. */
  readonly reference?: readonly string[] | undefined;
}

export interface Order {
  readonly ties: Ties;
  /** Removes unjudged documents before ranks are counted (trec_eval -J). */
  readonly judgedOnly: boolean;
}

function countLevels(judgements: Judgements): Int32Array {
  let top = -1;
  for (const grade of judgements.values()) if (grade > top) top = grade;
  const levels = new Int32Array(top + 1);
  for (const grade of judgements.values()) if (grade >= 0) levels[grade]!++;
  return levels;
}

/** Returns grades in order of arrival. */
function gradesOf(hits: HitList, judgements: Judgements): Int32Array {
  const grades = new Int32Array(hits.size).fill(UNJUDGED);
  for (const [docid, grade] of judgements) {
    const index = hits.find(docid);
    if (index >= 0) grades[index] = grade < 0 ? POOLED : grade;
  }
  return grades;
}

/** Ranks one query's documents and looks up their grades. The result decodes docids from `hits`, so it is valid until `hits` changes. */
export function rank(hits: HitList, judgements: Judgements, order: Order, reference?: readonly string[]): RankedQuery {
  const arrived = gradesOf(hits, judgements);
  let positions = hits.order(order.ties);
  if (order.judgedOnly) positions = positions.filter((index) => arrived[index]! >= 0);
  const grades = new Int32Array(positions.length);
  for (let i = 0; i < grades.length; i++) grades[i] = arrived[positions[i]!]!;
  const docids = () => Array.from(positions, (index) => hits.docid(index));
  return { grades, levels: countLevels(judgements), docids, reference };
}

/** Counts documents graded `rel` or better, retrieved or not. */
export function relevantCount(query: RankedQuery, rel: number): number {
  let count = 0;
  for (let level = Math.max(rel, 0); level < query.levels.length; level++) count += query.levels[level]!;
  return count;
}

/** Counts documents graded `rel` or better among the first `cutoff`. */
export function relevantRetrieved(query: RankedQuery, rel: number, cutoff = query.grades.length): number {
  let count = 0;
  const stop = Math.min(cutoff, query.grades.length);
  for (let i = 0; i < stop; i++) if (query.grades[i]! >= rel) count++;
  return count;
}
