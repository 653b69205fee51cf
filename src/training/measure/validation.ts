import { createHash } from 'node:crypto';
import { WinnowError } from '../../errors.ts';
import { someIds } from '../../evaluation/measures/coverage.ts';
import { evaluate, type Run } from '../../evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../evaluation/measures/measure.ts';
import type { EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { comparable, textHash } from '../data/survey/text-hash.ts';
import { openValidationSet, type ValidationData, type ValidationSet } from './validation-set.ts';

/** The part of a recipe's `validation` that decides its value. */
export interface ValidationSettings {
  readonly data: ValidationData;
  readonly measure: string;
  readonly depth: number;
  readonly queries?: number | undefined;
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
  /** Returns the value of the given scores. @param score returns one score per row. */
  value(score: (rows: readonly EncodedRow[]) => Promise<Float32Array>): Promise<number>;
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
  readonly rows: readonly EncodedRow[];
}

async function prepare(
  set: ValidationSet,
  settings: ValidationSettings,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
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
    const { rows } = await tokenizer.encode(query, passages, pairs);
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

/** Opens a validation set and tokenizes it. @throws WinnowError `invalid_input` where no judged query has candidates. */
export async function openValidation(
  settings: ValidationSettings,
  folder: string,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
): Promise<Validation> {
  const { data } = settings;
  const set = await openValidationSet(data, folder);
  const { prepared, leftOut, texts } = await prepare(set, settings, tokenizer, pairs).finally(() => set.close());
  if (prepared.length === 0)
    throw new WinnowError('invalid_input', {
      where: `validation ${data.path}`,
      expected: 'judged queries with candidate lists',
      got: 'none',
    });
  const qrels = judgementsOf(set, prepared);
  const measure = parseMeasure(settings.measure);
  const measured = (run: Run): number => evaluate(qrels, run, [measure]).mean.get(measure.name)!;
  return {
    measure: measure.name,
    queries: prepared.length,
    passages: prepared.reduce((sum, { rows }) => sum + rows.length, 0),
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
    firstStage: measured(
      new Map(prepared.map(({ qid, docids }) => [qid, { docids, scores: docids.map((_, i) => -i) }])),
    ),
    async value(score) {
      const scores = await score(prepared.flatMap((p) => p.rows));
      let from = 0;
      return measured(
        new Map(
          prepared.map(({ qid, docids }) => {
            const entry = [qid, { docids, scores: scores.subarray(from, from + docids.length) }] as const;
            from += docids.length;
            return entry;
          }),
        ),
      );
    },
  };
}
