import { Tensor } from '../../onnx/engine.ts';
import { QUERY_OF } from '../../onnx/interaction/top-graph.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import type { PassageStates } from '../interaction/passage-states.ts';
import { textsOf } from '../interaction/rows.ts';
import { rowFeeds, type SessionFeeds } from './feeds.ts';

const QUERY_INPUTS: readonly string[] = ['input_ids', 'attention_mask'];

/** Makes the inputs of the top of an interaction model: each query once, and the kept states of each row's passage. @param inputs of queries. */
export async function apartFeeds(
  rows: readonly EncodedRow[],
  states: Pick<PassageStates, 'feeds'>,
  padId: number,
  inputs = QUERY_INPUTS,
): Promise<SessionFeeds> {
  const texts = rows.map(textsOf);
  const places = new Map<Int32Array, number>();
  for (const { query } of texts) if (!places.has(query)) places.set(query, places.size);
  const queries = [...places.keys()].map((ids) => ({ ids, secondSegment: ids.length, truncated: false }));
  return {
    ...rowFeeds(queries, inputs, padId),
    [QUERY_OF]: new Tensor(
      'int64',
      BigInt64Array.from(texts, ({ query }) => BigInt(places.get(query)!)),
      [rows.length],
    ),
    ...(await states.feeds(texts.map(({ passage }) => passage))),
  };
}
