import type { Ranked, RerankAnswer } from '../../rerank/rerank-types.ts';
import type { QueryRequest } from './dialect.ts';
import { byIndex } from './ranking.ts';
import { placeOf } from './sent-names.ts';

export interface Scored {
  /** Place among all pairs. */
  readonly place: number;
  readonly ranked: Ranked;
}

/** Pairs of one query. */
export interface PairGroup {
  readonly query: string;
  /** Place of the query among all queries, where it stands first. */
  readonly queryAt: number;
  /** Position of each passage among all pairs. */
  readonly places: number[];
  readonly passages: string[];
}

/**
 * Groups pairs by query: each group becomes one request, so that its query is tokenized once.
 * @param queries one for all passages, or one for each.
 */
export function groupByQuery(queries: readonly string[], passages: readonly string[]): readonly PairGroup[] {
  const groups = new Map<string, PairGroup>();
  passages.forEach((passage, i) => {
    const query = queries.length === 1 ? queries[0]! : queries[i]!;
    const found = groups.get(query) ?? { query, queryAt: queries.length === 1 ? 0 : i, places: [], passages: [] };
    groups.set(query, found);
    found.places.push(i);
    found.passages.push(passage);
  });
  return [...groups.values()];
}

/** Returns the scores of all pairs in the order sent. @param answers one for each request. */
export function inSentOrder(requests: readonly QueryRequest[], answers: readonly RerankAnswer[]): readonly Scored[] {
  const scored = requests.flatMap(({ names, passages }, r) =>
    byIndex(answers[r]!, passages.length).map((ranked) => ({ place: placeOf(names, ranked.index), ranked })),
  );
  return scored.sort((a, b) => a.place - b.place);
}
