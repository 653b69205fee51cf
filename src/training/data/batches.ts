import type { EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import { type InBatch, withInBatch } from './in-batch.ts';
import { type CandidateList, type ListSource, nothingLeft } from './list-types.ts';

/** The lists of one (micro-)batch. `rows` are their passages, list after list. */
export interface Batch {
  readonly rows: readonly EncodedRow[];
  /** The lists that the rows were made from, with labels and scores in double precision. */
  readonly lists: readonly CandidateList[];
  readonly queries: number;
  /** Length of the longest list. */
  readonly passages: number;
  /** Index of each row in the flattened [queries, passages]. */
  readonly places: Int32Array;
  /** [queries, passages], as are the next two; padding is 0. */
  readonly relevance: Float32Array;
  readonly teacher: Float32Array;
  readonly valid: Float32Array;
  /** Weights of the rows' losses, [queries, passages]; absent where all are 1. */
  readonly weight?: Float32Array;
}

interface BatchOptions {
  /** Lists of a batch. */
  readonly queries: number;
  /** Batches formed together from lists of like length; 1 keeps the order of the data. */
  readonly bucketBatches: number;
  readonly seed: number;
  readonly pairs: PairOptions;
  /** Passages of the other lists of a step; none where absent. */
  readonly inBatch?: InBatch;
}

interface EncodedList {
  readonly list: CandidateList;
  readonly rows: readonly EncodedRow[];
  readonly longest: number;
}

async function encodeList(list: CandidateList, tokenizer: PairTokenizer, pairs: PairOptions): Promise<EncodedList> {
  const { rows } = await tokenizer.encode(list.query, list.passages, pairs);
  return { list, rows, longest: rows.reduce((most, row) => Math.max(most, row.ids.length), 0) };
}

/** Forms a batch of lists; those shorter than the longest are padded. */
export function formBatch(lists: readonly Pick<EncodedList, 'list' | 'rows'>[]): Batch {
  const queries = lists.length;
  const passages = lists.reduce((most, { rows }) => Math.max(most, rows.length), 0);
  const rows = lists.flatMap((l) => l.rows);
  const batch = {
    rows,
    lists: lists.map(({ list }) => list),
    queries,
    passages,
    places: new Int32Array(rows.length),
    relevance: new Float32Array(queries * passages),
    teacher: new Float32Array(queries * passages),
    valid: new Float32Array(queries * passages),
    ...(lists.some(({ list }) => list.weights) && { weight: new Float32Array(queries * passages) }),
  };
  let row = 0;
  lists.forEach(({ list }, q) => {
    for (let p = 0; p < list.passages.length; p++) {
      const place = q * passages + p;
      batch.places[row++] = place;
      batch.relevance[place] = list.relevance[p]!;
      batch.teacher[place] = list.teacher?.[p] ?? 0;
      batch.valid[place] = 1;
      if (batch.weight) batch.weight[place] = list.weights?.[p] ?? 1;
    }
  });
  return batch;
}

/** Forms batches of lists of like length, in random order. */
function bucketBatches(pool: readonly EncodedList[], queries: number, seed: number): Batch[] {
  const byLength = pool.map((l, i) => [l, i] as const).sort(([a, i], [b, j]) => a.longest - b.longest || i - j);
  const batches: Batch[] = [];
  for (let at = 0; at + queries <= byLength.length; at += queries)
    batches.push(formBatch(byLength.slice(at, at + queries).map(([l]) => l)));
  return createRandom(seed).shuffle(batches);
}

async function* endless(source: ListSource, seed: number): AsyncGenerator<CandidateList> {
  for (let epoch = 0; ; epoch++) {
    let any = false;
    for await (const list of source.lists(deriveSeed(seed, 'epoch', epoch))) {
      any = true;
      yield list;
    }
    if (!any) throw nothingLeft('training data', 'at least one list', source.skipped());
  }
}

async function* ownBatches(
  source: ListSource,
  tokenizer: PairTokenizer,
  options: BatchOptions,
  skip: number,
): AsyncGenerator<Batch> {
  const size = options.queries * options.bucketBatches;
  let pool: CandidateList[] = [];
  let index = 0;
  for await (const list of endless(source, options.seed)) {
    pool.push(list);
    if (pool.length < size) continue;
    const passed = index * options.bucketBatches;
    if (skip < passed + options.bucketBatches) {
      const encoded: EncodedList[] = [];
      for (const each of pool) encoded.push(await encodeList(each, tokenizer, options.pairs));
      yield* bucketBatches(encoded, options.queries, deriveSeed(options.seed, 'bucket', index)).slice(
        Math.max(0, skip - passed),
      );
    }
    pool = [];
    index++;
  }
}

/** Lengthens the lists of a step, which its micro-batches hold, and encodes what is new. */
async function lengthen(
  step: readonly Batch[],
  tokenizer: PairTokenizer,
  { pairs, seed }: BatchOptions,
  inBatch: InBatch,
  index: number,
): Promise<Batch[]> {
  const lists = step.flatMap((batch) => batch.lists);
  const rows = step.flatMap((batch) => batch.rows);
  const encoded: Pick<EncodedList, 'list' | 'rows'>[] = [];
  let row = 0;
  for (const [i, list] of withInBatch(lists, inBatch, seed, index).entries()) {
    const own = lists[i]!.passages.length;
    const added = list.passages.slice(own);
    const more = added.length === 0 ? [] : (await tokenizer.encode(list.query, added, pairs)).rows;
    encoded.push({ list, rows: [...rows.slice(row, row + own), ...more] });
    row += own;
  }
  return step.map(({ queries }) => formBatch(encoded.splice(0, queries)));
}

/**
 * Yields batches without end, epoch after epoch. The sequence depends on seed and data alone; with `inBatch`, what a list is given depends on
 * the lists of its step, whatever micro-batches they stand in.
 * @param skip batches to leave out, for a resumed run; pools that hold no others are not tokenized.
 */
export async function* batches(
  source: ListSource,
  tokenizer: PairTokenizer,
  options: BatchOptions,
  skip = 0,
): AsyncGenerator<Batch> {
  const { inBatch } = options;
  if (!inBatch) return yield* ownBatches(source, tokenizer, options, skip);
  const { accumulate } = inBatch;
  let index = Math.floor(skip / accumulate);
  let passed = skip % accumulate;
  let step: Batch[] = [];
  for await (const batch of ownBatches(source, tokenizer, options, skip - passed)) {
    step.push(batch);
    if (step.length < accumulate) continue;
    yield* (await lengthen(step, tokenizer, options, inBatch, index++)).slice(passed);
    passed = 0;
    step = [];
  }
}
