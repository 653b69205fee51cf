import { join } from 'node:path';
import { readQrels } from '../../src/evaluation/formats/qrels.ts';
import { readRankLlm } from '../../src/evaluation/formats/read-rank-llm.ts';
import { evaluate } from '../../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../src/evaluation/measures/measure.ts';
import type { Qrels } from '../../src/evaluation/measures/ranked.ts';
import { type BareRow, encodeRequests, sortedBatches } from '../load/engine.ts';

/** A query with its candidates; its pairs stand at `first`, `first + 1`, … of the work. */
interface CandidateList {
  readonly qid: string;
  readonly docids: readonly string[];
  readonly first: number;
}

/** What every contestant scores. Numbers in lists are places of pairs. */
export interface Work {
  readonly pairs: readonly (readonly [query: string, passage: string])[];
  /** The pairs' tokens. */
  readonly rows: readonly BareRow[];
  readonly lists: readonly CandidateList[];
  /** Pairs of a timed round. */
  readonly speed: readonly number[];
  /** Pairs that are also scored alone. */
  readonly alone: readonly number[];
  readonly maxLength: number;
  readonly qrels: Qrels;
}

/** Folder of TREC Deep Learning 2019. */
export const TREC_DL = join(import.meta.dirname, '../../../shared/data/trec-dl');

/** Returns `count` of the values, evenly spread. */
export const spread = <T>(values: readonly T[], count: number): readonly T[] =>
  count >= values.length
    ? values
    : Array.from({ length: count }, (_, i) => values[Math.floor((i * values.length) / count)]!);

export interface WorkSize {
  /** First candidates of each query that are re-ranked. */
  readonly depth: number;
  /** Candidate lists of a timed round. */
  readonly lists: number;
  /** Pairs that are also scored alone. */
  readonly alone: number;
}

/**
 * Reads queries, candidates and judgements, and encodes the pairs with the tokenizer of a model folder.
 * @param folder TREC-DL's files. @throws WinnowError with the file that is missing or wrong.
 */
export async function readWork(folder: string, model: string, maxLength: number, size: WorkSize): Promise<Work> {
  const { queries, run, texts } = await readRankLlm(join(folder, 'BM25.dl19.top100.json'));
  const candidates = [...run].map(([qid, { docids }]) => ({ qid, docids: docids.slice(0, size.depth) }));
  const qrels = await readQrels(join(folder, 'qrels.dl19-passage.txt'));
  const requests = candidates.map(({ qid, docids }) => ({
    query: queries.get(qid)!,
    passages: docids.map((docid) => texts.get(docid)!),
  }));
  const rows = await encodeRequests(model, requests, maxLength);
  let first = 0;
  const lists = candidates.map(({ qid, docids }) => {
    const list = { qid, docids, first };
    first += docids.length;
    return list;
  });
  const pairs = requests.flatMap(({ query, passages }) => passages.map((passage) => [query, passage] as const));
  const speed = spread(lists, size.lists).flatMap((list) => placesOf(list));
  return { pairs, rows, lists, speed, alone: spread([...pairs.keys()], size.alone), maxLength, qrels };
}

/** Returns the places of a list's pairs. */
export const placesOf = ({ docids, first }: CandidateList): number[] => docids.map((_, i) => first + i);

/** Cuts pairs, longest first, into batches of at most `tokens` padded tokens. */
export function batchesOf({ rows }: Work, places: readonly number[], tokens: number): number[][] {
  const placeOf = new Map(places.map((place) => [rows[place]!, place]));
  const budget = { tokens, rows: Number.POSITIVE_INFINITY };
  return sortedBatches([...placeOf.keys()], budget).map((batch) => batch.map((row) => placeOf.get(row)!));
}

/** Pairs of a mixed batch of a program that gets texts. */
const MIXED_TEXTS = 32;

/**
 * Cuts pairs in the order given into batches of at most `tokens` padded tokens, or of `MIXED_TEXTS` pairs without a number, and returns those
 * with a pair that is also scored alone.
 */
export function mixedBatches({ rows, alone }: Pick<Work, 'rows' | 'alone'>, tokens: number | undefined): number[][] {
  const batches: number[][] = [];
  let longest = 0;
  for (const [place, { ids }] of rows.entries()) {
    const last = batches.at(-1);
    const length = Math.max(longest, ids.length);
    const isFull = !last || (tokens === undefined ? last.length === MIXED_TEXTS : (last.length + 1) * length > tokens);
    if (isFull) batches.push([place]);
    else last.push(place);
    longest = isFull ? ids.length : length;
  }
  const wanted = new Set(alone);
  return batches.filter((batch) => batch.some((place) => wanted.has(place)));
}

/** Accuracy of a contestant's scores. */
export interface Accuracy {
  /** nDCG@10 over all lists. */
  readonly ndcg: number;
  /** Largest change of a score between a batch of its own and a batch with other pairs. */
  readonly drift: number;
  /** The same against a batch of pairs of any length; absent in files of earlier versions. */
  readonly mixedDrift?: number;
  /** Root mean square difference from float32 scores; NaN without them. */
  readonly error: number;
}

/**
 * Measures scores. @param together scores of all pairs, beside others. @param alone scores of `work.alone`, each in a batch of its own.
 * @param exact float32 scores of all pairs.
 */
export function accuracyOf(
  work: Work,
  together: ArrayLike<number>,
  { alone, mixed }: Readonly<Record<'alone' | 'mixed', ArrayLike<number>>>,
  exact?: ArrayLike<number>,
): Accuracy {
  const scored = new Map(
    work.lists.map((list) => [list.qid, { docids: list.docids, scores: placesOf(list).map((i) => together[i]!) }]),
  );
  const measure = parseMeasure('nDCG@10');
  const ndcg = evaluate(work.qrels, scored, [measure]).mean.get(measure.name)!;
  const drift = Math.max(...work.alone.map((place, i) => Math.abs(together[place]! - alone[i]!)));
  const mixedDrift = Math.max(...work.alone.map((_, i) => Math.abs(mixed[i]! - alone[i]!)));
  const squares = exact ? work.pairs.map((_, i) => (together[i]! - exact[i]!) ** 2) : [];
  const error = exact ? Math.sqrt(squares.reduce((sum, x) => sum + x, 0) / squares.length) : Number.NaN;
  return { ndcg, drift, mixedDrift, error };
}
