import { createHash } from 'node:crypto';
import { WinnowError } from '../../errors.ts';
import { someIds } from '../../evaluation/measures/coverage.ts';
import { evaluate, type Run } from '../../evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../evaluation/measures/measure.ts';
import type { Qrels } from '../../evaluation/measures/ranked.ts';
import type { PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { comparable, textHash } from '../data/survey/text-hash.ts';
import { type ModelRow, rowScores, type SidePrefixes, sideRows } from './side-rows.ts';
import { openValidationSet, type ValidationData, type ValidationSet } from './validation-set.ts';

/** The part of a recipe's `validation` that decides its value. */
export interface ValidationSettings {
  readonly data: ValidationData;
  readonly measure: string;
  readonly depth: number;
  readonly queries?: number | undefined;
}

/** A judged query with its candidates, their scores, and their grades, 0 where there is none. */
export interface ScoredQuery {
  readonly qid: string;
  readonly docids: readonly string[];
  readonly scores: Float32Array;
  readonly grades: readonly number[];
}

/** Re-ranks a first stage's candidates and measures the result as trec_eval does. */
export interface Validation {
  readonly measure: string;
  readonly queries: number;
  /** Passages of all lists, which each validation scores. */
  readonly passages: number;
  /** Starts of the texts that are measured on, by the hash of the whole text. */
  readonly texts: { readonly queries: ReadonlyMap<number, string>; readonly passages: ReadonlyMap<number, string> };
  /** SHA-256 of the scored tokens, the judgements and the measure. */
  readonly digest: string;
  /** Value of the first stage. */
  readonly firstStage: number;
  /** Judged queries that are not measured, a line for each reason. */
  readonly notes: readonly string[];
  /** All pairs, list after list; of a bi-encoder each list's query before its passages. */
  readonly rows: readonly ModelRow[];
  /** Returns the lists with their part of the scores, one a passage. */
  queriesOf(scores: Float32Array): readonly ScoredQuery[];
  /** Returns the value of scored lists by one of the measures that the set was opened with; by its own one without a name. */
  measured(lists: readonly ScoredQuery[], measure?: string): number;
  /** Returns the value of each query by the set's own measure, in the order of the lists. */
  perQuery(lists: readonly ScoredQuery[]): Float64Array;
  /** Returns the value of the given scores. @param score returns one score per row; of a bi-encoder, its vector's numbers. */
  value(score: (rows: readonly ModelRow[]) => Promise<Float32Array>): Promise<number>;
}

/** Characters of a text that are kept to name it. */
const NAMED = 60;

/** Collects texts by the hash that they are found by in other data. */
class TextIndex {
  readonly queries = new Map<number, string>();
  readonly passages = new Map<number, string>();

  add(query: string, passages: readonly string[]): void {
    this.queries.set(textHash(comparable(query)), query.slice(0, NAMED));
    for (const text of passages) this.passages.set(textHash(comparable(text)), text.slice(0, NAMED));
  }
}

interface Prepared {
  readonly qid: string;
  readonly docids: readonly string[];
  readonly rows: readonly ModelRow[];
}

async function prepare(
  set: ValidationSet,
  settings: ValidationSettings,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
  prefixes: SidePrefixes | undefined,
): Promise<{ readonly prepared: readonly Prepared[]; readonly leftOut: readonly string[]; readonly texts: TextIndex }> {
  const prepared: Prepared[] = [];
  const texts = new TextIndex();
  const leftOut: string[] = [];
  for (const qid of set.qrels.keys()) {
    const docids = set.candidates.get(qid)?.docids.slice(0, settings.depth);
    const query = set.queries.get(qid);
    if (!docids || query === undefined) {
      leftOut.push(qid);
      continue;
    }
    if (settings.queries !== undefined && prepared.length >= settings.queries) break;
    const passages = await set.texts(docids);
    texts.add(query, passages);
    const list = prepared.length;
    const rows = prefixes
      ? await sideRows(tokenizer, { query, passages, list }, pairs, prefixes)
      : (await tokenizer.encode(query, passages, pairs)).rows;
    prepared.push({ qid, docids, rows });
  }
  return { prepared, leftOut, texts };
}

/** Returns the judgements of the prepared queries only, so that queries left out do not count as zero. */
const judgementsOf = (set: ValidationSet, prepared: readonly Prepared[]) =>
  new Map(prepared.map(({ qid }) => [qid, set.qrels.get(qid)!]));

function digestOf(measure: string, prepared: readonly Prepared[], qrels: ReturnType<typeof judgementsOf>): string {
  const hash = createHash('sha256').update(measure);
  for (const { qid, docids, rows } of prepared) {
    hash.update(JSON.stringify([qid, docids, [...qrels.get(qid)!], rows.map((row) => row.secondSegment)]));
    for (const { ids } of rows) hash.update(ids);
  }
  return hash.digest('hex');
}

/** Returns what measures lists by one of the measures. @throws WinnowError for a name that is no measure. */
function measureBy(qrels: Qrels, names: readonly string[]) {
  const measures = names.map((name) => parseMeasure(name));
  return (run: Run, name?: string): { readonly mean: number; readonly perQuery: Float64Array } => {
    const measure = name === undefined ? measures[0]! : measures[names.indexOf(name)]!;
    const { mean, perQuery } = evaluate(qrels, run, [measure]);
    return { mean: mean.get(measure.name)!, perQuery: perQuery.get(measure.name)! };
  };
}

const runOf = (lists: readonly ScoredQuery[]): Run =>
  new Map(lists.map(({ qid, docids, scores }) => [qid, { docids, scores }]));

interface OpenOptions {
  /** Measures that its lists can be measured by beside its own. */
  readonly further?: readonly string[];
  /** Of a bi-encoder, whose rows are queries and passages apart. */
  readonly prefixes?: SidePrefixes | undefined;
}

/**
 * Opens a validation set and tokenizes it.
 * @throws WinnowError `invalid_input` where no judged query has candidates.
 */
export async function openValidation(
  settings: ValidationSettings,
  folder: string,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
  { further = [], prefixes }: OpenOptions = {},
): Promise<Validation> {
  const { data } = settings;
  const set = await openValidationSet(data, folder);
  const { prepared, leftOut, texts } = await prepare(set, settings, tokenizer, pairs, prefixes).finally(() =>
    set.close(),
  );
  if (prepared.length === 0)
    throw new WinnowError('invalid_input', {
      where: `validation ${data.path}`,
      expected: 'judged queries with candidate lists',
      got: 'none',
    });
  const qrels = judgementsOf(set, prepared);
  const measure = parseMeasure(settings.measure);
  const by = measureBy(qrels, [settings.measure, ...further]);
  const rows = prepared.flatMap((p) => p.rows);
  const measured = (lists: readonly ScoredQuery[], name?: string): number => by(runOf(lists), name).mean;
  const queriesOf = (scores: Float32Array): ScoredQuery[] => {
    let from = 0;
    return prepared.map(({ qid, docids }) => {
      const own = scores.subarray(from, from + docids.length);
      from += docids.length;
      return { qid, docids, scores: own, grades: docids.map((docid) => qrels.get(qid)!.get(docid) ?? 0) };
    });
  };
  return {
    measure: measure.name,
    queries: prepared.length,
    passages: prepared.reduce((sum, { docids }) => sum + docids.length, 0),
    texts,
    notes: [
      ...set.notes,
      ...(leftOut.length === 0
        ? []
        : [
            `validation ${data.path}: ${leftOut.length} judged queries without text or candidates, not measured: ${someIds(leftOut)}`,
          ]),
    ],
    digest: digestOf(measure.name, prepared, qrels),
    firstStage: by(new Map(prepared.map(({ qid, docids }) => [qid, { docids, scores: docids.map((_, i) => -i) }])))
      .mean,
    rows,
    queriesOf,
    measured,
    perQuery: (lists) => by(runOf(lists)).perQuery,
    value: async (score) => measured(queriesOf(rowScores(rows, await score(rows)))),
  };
}
