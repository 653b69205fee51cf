import type { ScoredDocs } from '../measures/evaluation.ts';
import { type CellFacts, dropProgress, openProgress, type ScoredQuery, writeCell } from './cells.ts';
import type { ScoreRequest, SuiteModels } from './suite-models.ts';
import type { PreparedSet, WorkCell } from './suite-work.ts';

async function* requestsOf(
  { queries, candidates, data }: PreparedSet,
  scored: ReadonlyMap<string, ScoredQuery>,
): AsyncGenerator<ScoreRequest> {
  for (const [qid, query] of queries) {
    const docids = candidates.run.get(qid)?.docids ?? [];
    if (docids.length > 0 && !scored.has(qid)) yield { qid, query, passages: await data.passages.texts(docids) };
  }
}

/**
 * Scores the queries that an interrupted run has not scored, and returns all of them.
 *
 * @param onPairs called with the number of pairs of each query, first with those of the interrupted run together.
 */
async function scoreQueries(
  { set, system, key }: WorkCell,
  models: SuiteModels,
  out: string,
  onPairs: (pairs: number) => void,
): Promise<ReadonlyMap<string, ScoredQuery>> {
  const { log, scored: before } = await openProgress(out, set.name, system.name, key);
  try {
    const scored = new Map(before.map((query) => [query.qid, query]));
    if (before.length > 0) onPairs(before.reduce((pairs, { scores }) => pairs + scores.length, 0));
    const [start, earlier] = [performance.now(), before.at(-1)?.seconds ?? 0];
    const { reference, variant, prune } = system;
    for await (const result of models.score(reference, variant, requestsOf(set, scored), prune)) {
      const { qid, scores, tokens, truncated, queryCut, pruned } = result;
      const seconds = earlier + (performance.now() - start) / 1000;
      const cut = queryCut ? { queryCut } : {};
      const query = { qid, scores: Array.from(scores), tokens, ...(pruned && { pruned }), truncated, ...cut, seconds };
      // JSON has no word for NaN: such a query is scored again.
      if (query.scores.every(Number.isFinite)) await log.append(query);
      scored.set(qid, query);
      onPairs(query.scores.length);
    }
    return scored;
  } finally {
    await log.close();
  }
}

/** Returns the passages of a list that have scores. */
function scoredDocs(docids: readonly string[], { scores, pruned }: ScoredQuery): ScoredDocs {
  if (!pruned) return { docids, scores };
  const left = new Set(pruned.places);
  const stays = (_: unknown, place: number) => !left.has(place);
  return { docids: docids.filter(stays), scores: scores.filter(stays) };
}

/** Adds up what pruning left out of lists. A list that was not pruned, because it is not longer than `topN`, has no early scores. */
function prunedIn(queries: Iterable<ScoredQuery>): NonNullable<CellFacts['pruned']> {
  const sum = { passages: 0, tokens: 0, earlyTokens: 0 };
  for (const { tokens, pruned } of queries) {
    if (!pruned) continue;
    sum.passages += pruned.places.length;
    sum.tokens += pruned.tokens;
    sum.earlyTokens += tokens + pruned.tokens;
  }
  return sum;
}

/**
 * Scores all candidates of a set with a model, and writes run and facts to disk. An interrupted run goes on at the query where it was.
 *
 * @param onPairs called with the number of pairs of each finished query.
 */
export async function scoreCell(
  cell: WorkCell,
  models: SuiteModels,
  out: string,
  onPairs: (pairs: number) => void,
): Promise<CellFacts> {
  const { set, system, key, pairs } = cell;
  const scored = await scoreQueries(cell, models, out, onPairs);
  const run = new Map<string, ScoredDocs>();
  let [tokens, truncated, truncatedQueries, seconds] = [0, 0, 0, 0];
  // In the order of the set, which the file keeps.
  for (const qid of set.queries.keys()) {
    const query = scored.get(qid);
    if (query === undefined) continue;
    run.set(qid, scoredDocs(set.candidates.run.get(qid)!.docids, query));
    tokens += query.tokens;
    truncated += query.truncated;
    if (query.queryCut) truncatedQueries++;
    seconds = Math.max(seconds, query.seconds);
  }
  const { sha256, variant, provider, key: label } = system.model;
  const cut = truncatedQueries > 0 ? { truncatedQueries } : {};
  const pruned = system.prune === undefined ? {} : { pruned: prunedIn(scored.values()) };
  const facts = { key, label, seconds, pairs, tokens, truncated, ...cut, ...pruned, sha256, variant, provider };
  await writeCell(out, set.name, system.name, run, facts);
  await dropProgress(out, set.name, system.name);
  return facts;
}
