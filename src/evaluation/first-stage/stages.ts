import { readRun } from '../formats/run.ts';
import type { Run, ScoredDocs } from '../measures/evaluation.ts';
import { ANSERINI, type Bm25Params } from './bm25.ts';
import type { FirstStage } from './first-stage.ts';
import type { Bm25Index } from './index/bm25-index.ts';

const number = (value: number): string => String(value).replace(/^0\./, '.');

const bm25Name = ({ k1, b }: Bm25Params): string => `BM25 (k1 ${number(k1)}, b ${number(b)})`;

/** The candidates' own order, under BM25: those without a term of the query come last, as they stood. */
function among(index: Bm25Index, query: string, list: ScoredDocs, params: Bm25Params): ScoredDocs {
  const { docids, scores } = index.search(query, index.facts.passages, params);
  const scoreOf = new Map(docids.map((docid, i) => [docid, scores[i]!]));
  const ranked = list.docids
    .map((docid, place) => ({ docid, place, score: scoreOf.get(docid) ?? 0 }))
    .sort((a, b) => b.score - a.score || a.place - b.place);
  return { docids: ranked.map(({ docid }) => docid), scores: ranked.map(({ score }) => score) };
}

const top = ({ docids, scores }: ScoredDocs, depth: number): ScoredDocs => ({
  docids: docids.slice(0, depth),
  scores: Array.from(scores).slice(0, depth),
});

/**
 * BM25 over an index.
 *
 * @param within candidate lists whose passages alone are ranked.
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
          run.set(qid, list === undefined ? { docids: [], scores: [] } : top(among(index, text, list, params), depth));
        onDone?.(run.size);
      }
      return run;
    },
  };
}

/** Lists that are there already: a data set's own candidates, or a run. */
export function runStage(name: string, run: Run): FirstStage {
  return {
    name,
    async retrieve(queries, depth, onDone) {
      const lists = [...queries.keys()].map(
        (qid) => [qid, top(run.get(qid) ?? { docids: [], scores: [] }, depth)] as const,
      );
      onDone?.(queries.size);
      return new Map(lists);
    },
  };
}

/** A run file of any format the project reads. */
export const runFileStage = async (path: string, name: string = path): Promise<FirstStage> =>
  runStage(name, await readRun(path));
