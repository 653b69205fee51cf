import type { Run, ScoredDocs } from '../measures/evaluation.ts';
import { writeCell } from './cells.ts';
import type { PlannedCell } from './plan.ts';
import type { ModelGate, ScoreRequest } from './ports.ts';

async function* requestsOf({ set, candidates }: PlannedCell['set']): AsyncGenerator<ScoreRequest> {
  for (const [qid, query] of set.queries) {
    const docids = candidates.run.get(qid)?.docids ?? [];
    if (docids.length > 0) yield { qid, query, passages: await set.data.passages.texts(docids) };
  }
}

/**
 * Scores all candidates of a set with a model and keeps run and facts on disk.
 *
 * @param onPairs called with the pairs of each query that is done.
 */
export async function scoreCell(
  cell: PlannedCell,
  gate: ModelGate,
  out: string,
  onPairs: (pairs: number) => void,
): Promise<void> {
  const { set, system, key, pairs } = cell;
  const run = new Map<string, ScoredDocs>();
  const start = performance.now();
  let [tokens, truncated] = [0, 0];
  for await (const result of gate.score(system.reference, system.variant, requestsOf(set))) {
    const { docids } = set.candidates.run.get(result.qid)!;
    run.set(result.qid, { docids, scores: result.scores });
    tokens += result.tokens;
    truncated += result.truncated;
    onPairs(docids.length);
  }
  const seconds = (performance.now() - start) / 1000;
  const { sha256, variant, provider, key: label } = system.model;
  await writeCell(out, set.set.spec.name, system.name, run satisfies Run, {
    ...{ key, label, seconds, pairs, tokens, truncated, sha256, variant, provider },
  });
}
