import type { Qrels } from '../../evaluation/measures/ranked.ts';
import type { DataSource } from './data-schema.ts';
import { scoresOf, type TeacherScores } from './teacher.ts';

/** A query with the ids of its candidates, best first. */
export interface Candidates {
  readonly qid: string;
  readonly query: string;
  readonly docids: readonly string[];
  /** Scores of the source itself, used where there is no other teacher. */
  readonly own?: readonly number[];
}

/** A candidate list with grades and, where the teacher knows it, scores. */
interface Graded {
  readonly docids: readonly string[];
  readonly relevance: readonly number[];
  readonly teacher?: readonly number[];
}

/** What candidate lists are graded by. */
export interface Grading {
  readonly source: DataSource;
  readonly qrels: Qrels | undefined;
  readonly teacher: TeacherScores | undefined;
  /** Passages that the collection lacks, which leave the list. */
  readonly missing?: ReadonlySet<string>;
}

/** Returns the lowest grade of a relevant passage. */
export const leastGrade = ({ minRelevance = 1 }: DataSource): number => minRelevance;

/** Returns the ids of the passages of a query that are judged relevant. */
export const relevantOf = (qrels: Qrels, qid: string, least: number): string[] =>
  [...(qrels.get(qid) ?? [])].flatMap(([docid, value]) => (value >= least ? [docid] : []));

function gradesOf(docids: readonly string[], scores: readonly number[] | undefined, qid: string, grading: Grading) {
  const { teacherPositives } = grading.source;
  const least = leastGrade(grading.source);
  const judged = grading.qrels?.get(qid);
  if (!judged && scores && teacherPositives > 0) {
    const best = new Set([...docids.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, teacherPositives));
    return docids.map((_, i) => +best.has(i));
  }
  return docids.map((docid) => {
    const grade = judged?.get(docid) ?? 0;
    return grade >= least ? Math.max(0, grade) : 0;
  });
}

/** Returns teacher scores; undefined where the teacher does not know the query, or a relevant passage that was added to the list. */
function teacherScores(
  { qid, docids, own }: Candidates,
  added: readonly string[],
  { teacher }: Grading,
): readonly number[] | undefined {
  const known = teacher ? teacher.get(qid) : own && new Map(docids.map((docid, i) => [docid, own[i]!]));
  if (!known || known.size === 0 || added.some((docid) => !known.has(docid))) return undefined;
  return scoresOf([...docids, ...added], known);
}

/** Returns the relevant passages that are not candidates, if the recipe adds them. */
function missingRelevant({ qid, docids }: Candidates, { source, qrels, missing }: Grading): string[] {
  if (!source.addRelevant) return [];
  const listed = new Set(docids);
  return [...(qrels?.get(qid) ?? [])].flatMap(([docid, grade]) =>
    grade >= leastGrade(source) && !listed.has(docid) && !missing?.has(docid) ? [docid] : [],
  );
}

function without(candidates: Candidates, missing: ReadonlySet<string> | undefined): Candidates {
  if (!missing) return candidates;
  const places = [...candidates.docids.keys()].filter((p) => !missing.has(candidates.docids[p]!));
  const { own } = candidates;
  return {
    ...candidates,
    docids: places.map((p) => candidates.docids[p]!),
    ...(own && { own: places.map((p) => own[p]!) }),
  };
}

/**
 * Grades a candidate list by the judgements and adds the teacher's scores.
 * @param negatives further passages to append; those that are judged or in the list already are left out.
 */
export function grade(all: Candidates, grading: Grading, negatives: readonly string[] = []): Graded {
  const candidates = without(all, grading.missing);
  const added = missingRelevant(candidates, grading);
  const scores = teacherScores(candidates, added, grading);
  const listed = new Set([...candidates.docids, ...added]);
  const extra = negatives.filter((docid) => !listed.has(docid) && !grading.qrels?.get(candidates.qid)?.has(docid));
  const docids = [...candidates.docids, ...added, ...extra];
  const bottom = scores && extra.length > 0 ? scoresOf(['\u0000'], new Map(scores.map((s, i) => [`${i}`, s])))[0]! : 0;
  const taught = scores && [...scores, ...extra.map(() => bottom)];
  const relevance = gradesOf(docids, taught, candidates.qid, grading);
  const { teacherScale } = grading.source;
  return { docids, relevance, ...(taught && { teacher: taught.map((score) => score * teacherScale) }) };
}
