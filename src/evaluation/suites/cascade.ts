import type { Run, ScoredDocs } from '../measures/evaluation.ts';

/** One stage: scores of all candidates under its system, and how many go on. */
interface CascadeTable {
  readonly run: Run;
  /** Absent for the last stage. */
  readonly keep?: number | undefined;
}

const byDocidDescending = (a: string, b: string): number => (a < b ? 1 : a > b ? -1 : 0);

/** Sorts best first; equal scores by docid descending, as measures do. */
function ranked(docids: readonly string[], list: ScoredDocs | undefined): string[] {
  const scoreOf = new Map(list?.docids.map((docid, i) => [docid, list.scores[i]!]));
  const score = (docid: string): number => scoreOf.get(docid) ?? Number.NEGATIVE_INFINITY;
  return docids.toSorted((a, b) => score(b) - score(a) || byDocidDescending(a, b));
}

function cascadeList(qid: string, docids: readonly string[], stages: readonly CascadeTable[]): ScoredDocs {
  const pruned: string[][] = [];
  let kept = [...docids];
  for (const { run, keep } of stages) {
    const order = ranked(kept, run.get(qid));
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
