import type { Run, ScoredDocs } from '../measures/evaluation.ts';

/** One stage: scores of all candidates under its system, and how many go on. */
interface CascadeTable {
  readonly run: Run;
  /** Absent for the last stage. */
  readonly keep?: number | undefined;
}

const later = (a: string, b: string): number => (a < b ? 1 : a > b ? -1 : 0);

/** Best first; equal scores by docid descending, as they are measured. */
function ranked(docids: readonly string[], list: ScoredDocs | undefined): string[] {
  const scoreOf = new Map(list?.docids.map((docid, i) => [docid, list.scores[i]!]));
  const score = (docid: string): number => scoreOf.get(docid) ?? Number.NEGATIVE_INFINITY;
  return docids.toSorted((a, b) => score(b) - score(a) || later(a, b));
}

function cascadeList(qid: string, docids: readonly string[], stages: readonly CascadeTable[]): ScoredDocs {
  const pruned: string[][] = [];
  let going = [...docids];
  for (const { run, keep } of stages) {
    const order = ranked(going, run.get(qid));
    going = order.slice(0, keep);
    pruned.unshift(order.slice(going.length));
  }
  const whole = [...going, ...pruned.flat()];
  return { docids: whole, scores: whole.map((_, place) => whole.length - place) };
}

/**
 * What a cascade gives, out of the stages' scores of all candidates: the ranking of the last stage, then those it never saw, the later a
 * stage pruned them the higher. Scores only say the order.
 */
export const cascadeRun = (candidates: Run, stages: readonly CascadeTable[]): Run =>
  new Map(Array.from(candidates, ([qid, { docids }]) => [qid, cascadeList(qid, docids, stages)]));

/** Pairs that each stage scores over all queries: everything first, then what was kept. */
export function stagePairs(candidates: Run, keeps: readonly (number | undefined)[]): number[] {
  const lengths = Array.from(candidates.values(), ({ docids }) => docids.length);
  return keeps.map((_, stage) => {
    const most = Math.min(...keeps.slice(0, stage).map((keep) => keep ?? Number.POSITIVE_INFINITY));
    return lengths.reduce((sum, length) => sum + Math.min(length, most), 0);
  });
}
