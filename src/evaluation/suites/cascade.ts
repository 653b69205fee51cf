import { blendScores } from '../../util/blend.ts';
import type { Run, ScoredDocs } from '../measures/evaluation.ts';

/** One stage: scores of all candidates under its system, and how many go on. */
interface CascadeTable {
  readonly run: Run;
  /** How much of the ranking is the scores of the stage before; 0 if absent. */
  readonly blend?: number | undefined;
  /** Absent for the last stage. */
  readonly keep?: number | undefined;
}

const byDocidDescending = (a: string, b: string): number => (a < b ? 1 : a > b ? -1 : 0);

type Scores = ReadonlyMap<string, number>;

/** Returns the scores by which a stage ranks what it gets. A candidate that it or the stage before has no score for has none. */
function stageScores(docids: readonly string[], list: ScoredDocs | undefined, before: Scores, blend: number): Scores {
  const own: Scores = new Map(list?.docids.map((docid, i) => [docid, list.scores[i]!]));
  if (blend === 0) return own;
  const both = docids.filter((docid) => own.has(docid) && before.has(docid));
  const mixed = blendScores(
    both.map((docid) => own.get(docid)!),
    both.map((docid) => before.get(docid)!),
    blend,
  );
  return new Map(both.map((docid, i) => [docid, mixed[i]!]));
}

/** Sorts best first; equal scores by docid descending, as measures do. */
function ranked(docids: readonly string[], scores: Scores): string[] {
  const score = (docid: string): number => scores.get(docid) ?? Number.NEGATIVE_INFINITY;
  return docids.toSorted((a, b) => score(b) - score(a) || byDocidDescending(a, b));
}

function cascadeList(qid: string, docids: readonly string[], stages: readonly CascadeTable[]): ScoredDocs {
  const pruned: string[][] = [];
  let kept = [...docids];
  let scores: Scores = new Map();
  for (const { run, keep, blend = 0 } of stages) {
    scores = stageScores(kept, run.get(qid), scores, blend);
    const order = ranked(kept, scores);
    kept = order.slice(0, keep);
    pruned.unshift(order.slice(kept.length));
  }
  const whole = [...kept, ...pruned.flat()];
  return { docids: whole, scores: whole.map((_, place) => whole.length - place) };
}

/**
 * Returns the run of a cascade from the stages' scores of all candidates: the ranking of the last stage, then the candidates it never saw,
 * those pruned later first. Scores carry the order only.
 */
export const cascadeRun = (candidates: Run, stages: readonly CascadeTable[]): Run =>
  new Map(Array.from(candidates, ([qid, { docids }]) => [qid, cascadeList(qid, docids, stages)]));

/** Counts the pairs that each stage scores over all queries: all candidates first, then what the stages before kept. */
export function stagePairs(candidates: Run, keeps: readonly (number | undefined)[]): number[] {
  const lengths = Array.from(candidates.values(), ({ docids }) => docids.length);
  return keeps.map((_, stage) => {
    const most = Math.min(...keeps.slice(0, stage).map((keep) => keep ?? Number.POSITIVE_INFINITY));
    return lengths.reduce((sum, length) => sum + Math.min(length, most), 0);
  });
}
