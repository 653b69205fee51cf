import { pairsWithin } from '../../registry/pair-limits.ts';
import type { PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { type Batch, batches } from '../data/batches.ts';
import type { ListSource } from '../data/list-types.ts';
import { PairSet } from '../data/pair-set.ts';
import type { Recipe } from '../recipe/recipe.ts';

/** Reads the pairs that in-batch negatives must not be. */
export async function knownPairs(source: ListSource): Promise<PairSet> {
  const pairs = new PairSet();
  await source.addKnown(pairs);
  return pairs;
}

/**
 * Opens the micro-batches of a run. With in-batch negatives the data is read once before the first batch.
 * @param done steps to leave out.
 * @param onNote receives a line before the data is read.
 */
export async function openStream(
  { batch, data, seed, ...recipe }: Recipe,
  source: ListSource,
  tokenizer: PairTokenizer,
  done = 0,
  onNote?: (note: string) => void,
): Promise<AsyncGenerator<Batch>> {
  const { queries, bucketBatches, accumulate } = batch;
  const { inBatch: count } = data.sampler;
  if (count > 0) onNote?.('reading the relevant passages of all lists, which are no in-batch negatives');
  const inBatch = count > 0 && { inBatch: { count, accumulate, known: await knownPairs(source) } };
  const options = { queries, bucketBatches, seed, pairs: pairsWithin(recipe), ...inBatch };
  return batches(source, tokenizer, options, done * accumulate);
}
