import { openPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readQueries } from '../topics.ts';
import { findFile, needFile } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Keeps the queries that are judged: BEIR puts the queries of all splits in one file. */
export function judgedOnly(
  queries: ReadonlyMap<string, string>,
  qrels: ReadonlyMap<string, unknown>,
): Map<string, string> {
  return new Map([...queries].filter(([qid]) => qrels.has(qid)));
}

/** Loads a BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv`. */
export const beir: Loader = {
  shape: 'BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv',
  detect: (place) => !place.isFile && findFile(place, /^corpus\.jsonl$/) !== undefined,
  async load(place, spec) {
    const split = spec.split ?? 'test';
    const qrelsFile = needFile(place, spec.qrels, `qrels/${split}.tsv`, new RegExp(`^qrels/${split}\\.tsv$`));
    const queriesFile = needFile(place, spec.queries, 'queries.jsonl', /^queries\.jsonl$/);
    const corpus = needFile(place, spec.corpus, 'corpus.jsonl', /^corpus\.jsonl$/);
    const qrels = await readQrels(qrelsFile);
    return {
      qrels,
      queries: judgedOnly(await readQueries(queriesFile), qrels),
      passages: await openPassages(corpus),
      files: [corpus, queriesFile, qrelsFile],
    };
  },
};
