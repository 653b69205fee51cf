import type { ScoredDocs } from '../measures/evaluation.ts';
import { writeCell } from './cells.ts';
import type { ScoreRequest, SuiteModels } from './suite-models.ts';
import type { PreparedSet, WorkCell } from './suite-work.ts';

async function* requestsOf({ queries, candidates, data }: PreparedSet): AsyncGenerator<ScoreRequest> {
  for (const [qid, query] of queries) {
    const docids = candidates.run.get(qid)?.docids ?? [];
    if (docids.length > 0) yield { qid, query, passages: await data.passages.texts(docids) };
  }
}

/**
 * Scores all candidates of a set with a model and writes run and facts to disk.
 *
 * @param onPairs called with the number of pairs of each finished query.
 */
export async function scoreCell(
  { set, system, key, pairs }: WorkCell,
  models: SuiteModels,
  out: string,
  onPairs: (pairs: number) => void,
): Promise<void> {
  const run = new Map<string, ScoredDocs>();
  const start = performance.now();
  let [tokens, truncated] = [0, 0];
  for await (const result of models.score(system.reference, system.variant, requestsOf(set))) {
    const { docids } = set.candidates.run.get(result.qid)!;
    run.set(result.qid, { docids, scores: result.scores });
    tokens += result.tokens;
    truncated += result.truncated;
    onPairs(docids.length);
  }
  const seconds = (performance.now() - start) / 1000;
  const { sha256, variant, provider, key: label } = system.model;
  const facts = { key, label, seconds, pairs, tokens, truncated, sha256, variant, provider };
  await writeCell(out, set.name, system.name, run, facts);
}
