import { WinnowError } from '../../errors.ts';
import type { Coverage } from './coverage.ts';
import { HitList } from './hits.ts';
import type { Measure } from './measure.ts';
import { type Order, type Qrels, type RankedQuery, rank } from './ranked.ts';

/** Values of every judged query, and of the set. A query without an answer in the run counts 0. */
export interface Evaluation {
  readonly measures: readonly Measure[];
  /** Judged queries in the order of the qrels. */
  readonly queries: readonly string[];
  /** Measure name → one value per query, in the order of `queries`. */
  readonly perQuery: ReadonlyMap<string, Float64Array>;
  /** Measure name → mean over all judged queries (a sum for counts such as NumRet, a geometric mean for GMAP). */
  readonly mean: ReadonlyMap<string, number>;
  readonly coverage: Coverage;
}

/** Receives a run query by query. */
interface Evaluator {
  /** Measures one query's documents; only counts queries without judgements. If a query comes twice, its last values count. */
  query(qid: string, hits: HitList): void;
  finish(): Evaluation;
}

interface EvaluatorOptions {
  /** Query → ranking of another run, for `RBO`. A query that it leaves out has an empty ranking there. */
  readonly reference?: ReadonlyMap<string, readonly string[]> | undefined;
}

const orderKey = ({ ties, judgedOnly }: Order): string => `${ties} ${judgedOnly}`;

/** Least value of a query in a geometric mean, as in trec_eval. */
const LEAST = 0.00001;

/** Combines the values of all queries. */
function combine(values: Float64Array, aggregate: Measure['aggregate']): number {
  if (aggregate === 'sum') return total(values);
  if (aggregate === 'mean') return total(values) / values.length;
  return Math.exp(total(values.map((value) => Math.log(Math.max(value, LEAST)))) / values.length);
}

function total(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** Returns the values of queries missing from the run: 0, except for counts that do not depend on the run. */
function withoutRun(qrels: Qrels, queries: readonly string[], measures: readonly Measure[]): Map<string, Float64Array> {
  const empty = new HitList();
  const perQuery = new Map(measures.map((measure) => [measure.name, new Float64Array(queries.length)]));
  for (const measure of measures)
    if (measure.aggregate === 'sum')
      queries.forEach((qid, row) => {
        const ranked = rank(empty, qrels.get(qid)!, measure.params);
        perQuery.get(measure.name)![row] = measure.compute(ranked, measure.params);
      });
  return perQuery;
}

function coverageOf(qrels: Qrels, judged: readonly string[], inRun: ReadonlySet<string>): Coverage {
  const hasRelevant = (qid: string): boolean => [...qrels.get(qid)!.values()].some((grade) => grade > 0);
  return {
    judged,
    missing: judged.filter((qid) => !inRun.has(qid)),
    unjudged: [...inRun].filter((qid) => !qrels.has(qid)),
    withoutRelevant: judged.filter((qid) => !hasRelevant(qid)),
  };
}

/**
 * Starts an evaluation of `measures` against `qrels` with trec_eval's semantics (`-c`: the mean is over all queries of the qrels).
 *
 * @throws WinnowError `invalid_input` if the qrels are empty.
 */
export function createEvaluator(qrels: Qrels, measures: readonly Measure[], options: EvaluatorOptions = {}): Evaluator {
  if (qrels.size === 0)
    throw new WinnowError('invalid_input', { where: 'qrels', expected: 'at least 1 judged query', got: '0' });
  const queries = [...qrels.keys()];
  const rows = new Map(queries.map((qid, row) => [qid, row]));
  const perQuery = withoutRun(qrels, queries, measures);
  const inRun = new Set<string>();
  return {
    query(qid, hits) {
      inRun.add(qid);
      const row = rows.get(qid);
      if (row === undefined) return;
      const views = new Map<string, RankedQuery>();
      const reference = options.reference && (options.reference.get(qid) ?? []);
      for (const measure of measures) {
        const key = orderKey(measure.params);
        const view = views.get(key) ?? rank(hits, qrels.get(qid)!, measure.params, reference);
        views.set(key, view);
        perQuery.get(measure.name)![row] = measure.compute(view, measure.params);
      }
    },
    finish() {
      const mean = new Map<string, number>();
      for (const { name, aggregate } of measures) mean.set(name, combine(perQuery.get(name)!, aggregate));
      return { measures, queries, perQuery, mean, coverage: coverageOf(qrels, queries, inRun) };
    },
  };
}

/** Returns an evaluation as JSON: `{mean: {measure: value}, perQuery: {qid: {measure: value}}}`. */
export function evaluationJson({ measures, queries, perQuery, mean }: Evaluation): object {
  const row = (i: number) => Object.fromEntries(measures.map(({ name }) => [name, perQuery.get(name)![i]!]));
  return { mean: Object.fromEntries(mean), perQuery: Object.fromEntries(queries.map((qid, i) => [qid, row(i)])) };
}

/** One query's retrieved documents as plain values. */
export interface ScoredDocs {
  readonly docids: readonly string[];
  /** One score per docid; higher is better. */
  readonly scores: ArrayLike<number>;
}

/** A whole run in memory: query → documents. */
export type Run = ReadonlyMap<string, ScoredDocs>;

/** Replaces the content of `hits` by documents. @throws WinnowError `invalid_input` for a docid that comes twice. */
export function fillHits(hits: HitList, qid: string, docs: ScoredDocs): void {
  hits.clear();
  docs.docids.forEach((docid, i) => {
    if (!hits.addText(docid, docs.scores[i]!))
      throw new WinnowError('invalid_input', {
        where: `run, query ${qid}`,
        expected: 'each docid once',
        got: `${docid} twice`,
      });
  });
}

/** Measures a run in memory. @throws WinnowError as `createEvaluator` and `fillHits`. */
export function evaluate(qrels: Qrels, run: Run, measures: readonly Measure[], options?: EvaluatorOptions): Evaluation {
  const evaluator = createEvaluator(qrels, measures, options);
  const hits = new HitList();
  for (const [qid, docs] of run) {
    if (qrels.has(qid)) fillHits(hits, qid, docs);
    else hits.clear();
    evaluator.query(qid, hits);
  }
  return evaluator.finish();
}
