import type { Qrels } from '../../evaluation/measures/ranked.ts';
import type { DataSource } from './schema.ts';
import { scoresOf, type TeacherScores } from './teacher.ts';

/** A query with the ids of its candidates, best first. */
export interface Candidates {
  readonly qid: string;
  readonly query: string;
  readonly docids: readonly string[];
  /** The first stage's own scores, which teach where no other teacher does. */
  readonly own?: readonly number[];
}

interface Graded {
  readonly docids: readonly string[];
  readonly relevance: readonly number[];
  readonly teacher?: readonly number[];
}

export interface Grading {
  readonly source: DataSource;
  readonly qrels: Qrels | undefined;
  readonly teacher: TeacherScores | undefined;
}

function grades(docids: readonly string[], scores: readonly number[] | undefined, qid: string, grading: Grading) {
  const { minRelevance, teacherPositives } = grading.source;
  const judged = grading.qrels?.get(qid);
  if (!judged && scores && teacherPositives > 0) {
    const best = new Set([...docids.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, teacherPositives));
    return docids.map((_, i) => +best.has(i));
  }
  return docids.map((docid) => {
    const grade = judged?.get(docid) ?? 0;
    return grade >= minRelevance ? Math.max(0, grade) : 0;
  });
}

/** Teacher scores of a list; none where the teacher does not know the query, or a relevant passage that was added to the list. */
function taught(
  { qid, docids, own }: Candidates,
  added: readonly string[],
  { teacher }: Grading,
): readonly number[] | undefined {
  const known = teacher ? teacher.get(qid) : own && new Map(docids.map((docid, i) => [docid, own[i]!]));
  if (!known || known.size === 0 || added.some((docid) => !known.has(docid))) return undefined;
  return scoresOf([...docids, ...added], known);
}

/** Relevant passages the candidates miss, if the recipe wants them. */
function missed({ qid, docids }: Candidates, { source, qrels }: Grading): string[] {
  if (!source.addRelevant) return [];
  const there = new Set(docids);
  return [...(qrels?.get(qid) ?? [])].flatMap(([docid, grade]) =>
    grade >= source.minRelevance && !there.has(docid) ? [docid] : [],
  );
}

/** Puts grades from the judgements and scores from the teacher to a candidate list. @param behind passages put behind it. */
export function grade(candidates: Candidates, grading: Grading, behind: readonly string[] = []): Graded {
  const added = missed(candidates, grading);
  const scores = taught(candidates, added, grading);
  const there = new Set([...candidates.docids, ...added]);
  const extra = behind.filter((docid) => !there.has(docid) && !grading.qrels?.get(candidates.qid)?.has(docid));
  const docids = [...candidates.docids, ...added, ...extra];
  const bottom = scores && extra.length > 0 ? scoresOf(['\u0000'], new Map(scores.map((s, i) => [`${i}`, s])))[0]! : 0;
  const all = scores && [...scores, ...extra.map(() => bottom)];
  const relevance = grades(docids, all, candidates.qid, grading);
  const { teacherScale } = grading.source;
  return { docids, relevance, ...(all && { teacher: all.map((score) => score * teacherScale) }) };
}
