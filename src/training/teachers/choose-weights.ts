import { evaluate, type Run, type ScoredDocs } from '../../evaluation/measures/evaluation.ts';
import type { Measure } from '../../evaluation/measures/measure.ts';
import type { Qrels } from '../../evaluation/measures/ranked.ts';
import { mean } from '../../statistics/samples.ts';
import { scoresOf, type TeacherScores } from '../data/teacher.ts';
import { type Normalization, normalized } from './ensemble.ts';

/** A file of teacher scores. */
export interface Teacher {
  readonly name: string;
  readonly scores: TeacherScores;
}

/** Weight combinations that are tried at most; the step between weights grows with the number of teachers. */
const MOST_COMBINATIONS = 20_000;

/** Returns all weights of `teachers` teachers that are multiples of 1 / `parts` and add up to 1. */
function combinations(teachers: number, parts: number): number[][] {
  if (teachers === 1) return [[parts]];
  return Array.from({ length: parts + 1 }, (_, first) =>
    combinations(teachers - 1, parts - first).map((rest) => [first, ...rest]),
  ).flat();
}

/** Returns the number of combinations: C(parts + teachers − 1, teachers − 1). */
function countOf(teachers: number, parts: number): number {
  let count = 1;
  for (let i = 1; i < teachers; i++) count = (count * (parts + i)) / i;
  return count;
}

/** Returns the finest parts of 10 or fewer whose combinations are few enough. */
function partsFor(teachers: number): number {
  for (let parts = 10; parts > 1; parts--) if (countOf(teachers, parts) <= MOST_COMBINATIONS) return parts;
  return 1;
}

/** Returns the normalized scores that each teacher gives the passages of a query; undefined where it does not know the query. */
function scaled(
  teachers: readonly Teacher[],
  qid: string,
  docids: readonly string[],
  normalization: Normalization,
): (readonly number[] | undefined)[] {
  return teachers.map(({ scores }) => {
    const known = scores.get(qid);
    return known && known.size > 0 ? normalized(scoresOf(docids, known), normalization) : undefined;
  });
}

/** Returns the weighted mean of the teachers that know a query; undefined where none of a weight above 0 does. */
function blend(parts: readonly (readonly number[] | undefined)[], weights: readonly number[]): number[] | undefined {
  const known = parts.flatMap((scores, i) => (scores && weights[i]! > 0 ? [{ scores, weight: weights[i]! }] : []));
  const total = known.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return undefined;
  return known[0]!.scores.map((_, place) =>
    known.reduce((sum, { scores, weight }) => sum + (weight / total) * scores[place]!, 0),
  );
}

/** Returns the passages of a query that some teacher has scored, in the order of the teachers. */
const docidsOf = (teachers: readonly Teacher[], qid: string): string[] => [
  ...new Set(teachers.flatMap(({ scores }) => [...(scores.get(qid)?.keys() ?? [])])),
];

/** How good a combination of teachers is on judged queries. */
export interface WeightChoice {
  /** One a teacher; they add up to 1. */
  readonly weights: readonly number[];
  /** Queries that are judged and have a list. */
  readonly queries: number;
  /** Value of each teacher alone, of equal weights, of the chosen ones on the queries that they were chosen on. */
  readonly alone: readonly number[];
  readonly equal: number;
  readonly chosen: number;
  /** Mean over queries of the value with weights that were chosen on the others: what to expect of another query. */
  readonly leftOut: number;
}

interface ChoiceInput {
  readonly teachers: readonly Teacher[];
  readonly qrels: Qrels;
  readonly measure: Measure;
  /** Lists that are ranked; all passages that some teacher scored where absent. */
  readonly candidates?: Run | undefined;
  readonly normalization: Normalization;
}

/** Returns the row of the highest sum; of equal ones the most even weights, which depend least on these queries. */
function bestOf(rows: readonly number[][], sums: readonly number[]): number {
  const spread = (row: number): number => rows[row]!.reduce((sum, weight) => sum + weight * weight, 0);
  let best = 0;
  for (let row = 1; row < rows.length; row++) {
    const difference = sums[row]! - sums[best]!;
    if (difference > 1e-12 || (Math.abs(difference) <= 1e-12 && spread(row) < spread(best))) best = row;
  }
  return best;
}

/** Returns the value of each query under weights. */
function valuesOf(
  lists: readonly {
    readonly qid: string;
    readonly docids: readonly string[];
    readonly parts: ReturnType<typeof scaled>;
  }[],
  weights: readonly number[],
  { qrels, measure }: ChoiceInput,
): readonly number[] {
  const run = new Map<string, ScoredDocs>();
  for (const { qid, docids, parts } of lists)
    run.set(qid, { docids, scores: blend(parts, weights) ?? docids.map(() => 0) });
  const judged = new Map(lists.map(({ qid }) => [qid, qrels.get(qid)!]));
  const { perQuery, queries } = evaluate(judged, run, [measure]);
  const values = perQuery.get(measure.name)!;
  return lists.map(({ qid }) => values[queries.indexOf(qid)]!);
}

/**
 * Chooses the weights of teachers by the mean of a measure over judged queries: the best of equal weights and all multiples of a tenth (of a larger part for more
 * than five teachers).
 * @returns undefined where no judged query has a list.
 */
export function chooseWeights(input: ChoiceInput): WeightChoice | undefined {
  const { teachers, qrels, candidates, normalization } = input;
  const lists = [...qrels.keys()].flatMap((qid) => {
    const docids = candidates ? (candidates.get(qid)?.docids ?? []) : docidsOf(teachers, qid);
    return docids.length === 0 ? [] : [{ qid, docids, parts: scaled(teachers, qid, docids, normalization) }];
  });
  if (lists.length === 0) return undefined;
  const parts = partsFor(teachers.length);
  const equal = teachers.map(() => 1 / teachers.length);
  // Equal weights are the one guess that needs no data: for three teachers they are no multiples of a tenth.
  const rows = [equal, ...combinations(teachers.length, parts).map((row) => row.map((count) => count / parts))];
  const values = rows.map((weights) => valuesOf(lists, weights, input));
  const sums = values.map((row) => row.reduce((a, b) => a + b, 0));
  const best = bestOf(rows, sums);
  const leftOut = lists.map((_, query) => {
    const others = sums.map((sum, row) => sum - values[row]![query]!);
    return values[bestOf(rows, others)]![query]!;
  });
  const only = (place: number): readonly number[] => teachers.map((_, i) => +(i === place));
  return {
    weights: rows[best]!,
    queries: lists.length,
    alone: teachers.map((_, i) => mean(valuesOf(lists, only(i), input))),
    equal: sums[0]! / lists.length,
    chosen: sums[best]! / lists.length,
    leftOut: mean(leftOut),
  };
}

/** Returns the weighted mean of the teachers for every query that one of a weight above 0 knows. */
export function blendAll(teachers: readonly Teacher[], weights: readonly number[], normalization: Normalization): Run {
  const run = new Map<string, ScoredDocs>();
  for (const qid of new Set(teachers.flatMap(({ scores }) => [...scores.keys()]))) {
    const docids = docidsOf(teachers, qid);
    const scores = blend(scaled(teachers, qid, docids, normalization), weights);
    if (scores) run.set(qid, { docids, scores });
  }
  return run;
}
