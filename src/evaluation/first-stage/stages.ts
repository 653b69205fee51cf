import { readRun } from '../formats/run.ts';
import type { Run, ScoredDocs } from '../measures/evaluation.ts';
import { ANSERINI, type Bm25Params } from './bm25.ts';
import type { FirstStage } from './first-stage.ts';
import type { Bm25Index } from './index/bm25-index.ts';

const formatNumber = (value: number): string => String(value).replace(/^0\./, '.');

const bm25Name = ({ k1, b }: Bm25Params): string => `BM25 (k1 ${formatNumber(k1)}, b ${formatNumber(b)})`;

/** Ranks a candidate list by BM25; candidates without a term of the query come last, in their own order. */
function rankWithin(index: Bm25Index, query: string, list: ScoredDocs, params: Bm25Params): ScoredDocs {
  const { docids, scores } = index.search(query, index.facts.passages, params);
  const scoreOf = new Map(docids.map((docid, i) => [docid, scores[i]!]));
  const ranked = list.docids
    .map((docid, place) => ({ docid, place, score: scoreOf.get(docid) ?? 0 }))
    .sort((a, b) => b.score - a.score || a.place - b.place);
  return { docids: ranked.map(({ docid }) => docid), scores: ranked.map(({ score }) => score) };
}

const truncateList = ({ docids, scores }: ScoredDocs, depth: number): ScoredDocs => ({
  docids: docids.slice(0, depth),
  scores: Array.from(scores).slice(0, depth),
});

/**
 * Retrieves by BM25 over an index.
 *
 * @param within candidate lists: only their passages are ranked.
 */
export function bm25Stage(index: Bm25Index, params: Bm25Params = ANSERINI, within?: Run): FirstStage {
  return {
    name: bm25Name(params),
    async retrieve(queries, depth, onDone) {
      const run = new Map<string, ScoredDocs>();
      for (const [qid, text] of queries) {
        const list = within?.get(qid);
        if (within === undefined) run.set(qid, index.search(text, depth, params));
        else
          run.set(
            qid,
            list === undefined
              ? { docids: [], scores: [] }
              : truncateList(rankWithin(index, text, list, params), depth),
          );
        onDone?.(run.size);
      }
      return run;
    },
  };
}

/** Serves existing lists: a data set's own candidates, or a run. */
export function runStage(name: string, run: Run): FirstStage {
  return {
    name,
    async retrieve(queries, depth, onDone) {
      const lists = [...queries.keys()].map(
        (qid) => [qid, truncateList(run.get(qid) ?? { docids: [], scores: [] }, depth)] as const,
      );
      onDone?.(queries.size);
      return new Map(lists);
    },
  };
}

/** Serves the lists of a run file, in any format that `readRun` reads. */
export const runFileStage = async (path: string, name: string = path): Promise<FirstStage> =>
  runStage(name, await readRun(path));
