import { openPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readQueries } from '../topics.ts';
import { findFile, findFiles, needCollection, needFile, type Place } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Keeps the queries that are judged: BEIR puts the queries of all splits in one file. */
export function judgedOnly(
  queries: ReadonlyMap<string, string>,
  qrels: ReadonlyMap<string, unknown>,
): Map<string, string> {
  return new Map([...queries].filter(([qid]) => qrels.has(qid)));
}

const CORPUS = [/^corpus\.jsonl$/, /^corpus\/[^/]+\.(jsonl|ndjson|json)$/];
const QUERIES = [/^queries\.jsonl$/, /^queries\/[^/]+\.(jsonl|ndjson|json)$/];

/**
 * Returns the split of a folder: `test` unless the specification says otherwise, or what all files of a configuration are named after
 * (NanoBEIR has everything in `train`).
 */
function splitOf(place: Place, given: string | undefined): string {
  const own = findFiles(place, /^qrels\/[^/]+$/).map(
    (file) => /([\w.]+?)(-\d{5}-of-\d{5})?\.\w+(\.gz)?$/.exec(file)?.[1],
  );
  const configured = findFile(place, /^corpus\/train[-.]/) !== undefined && own.length === 1;
  return given ?? (configured ? own[0]! : 'test');
}

/** Returns where the judgements of a split are: BEIR's `qrels/`, and the configurations of MTEB's data sets. */
const judgementsOf = (split: string): RegExp[] => [
  new RegExp(`^qrels/${split}\\.tsv$`),
  ...['qrels', 'default', 'data'].map(
    (folder) => new RegExp(`^${folder}/${split}(-\\d{5}-of-\\d{5})?\\.(tsv|jsonl|ndjson|json|txt|trec|qrels)$`),
  ),
];

/** Loads a BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv`, or MTEB's and NanoBEIR's folders of that content. */
export const beir: Loader = {
  shape:
    'BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv (MTEB, NanoBEIR: corpus/*.jsonl, queries/*.jsonl, qrels/*.jsonl)',
  detect: (place) =>
    !place.isFile &&
    findFile(place, ...CORPUS) !== undefined &&
    // With judgements beside the collection it is a folder of plain files.
    (findFile(place, /^(qrels|default|data)\//) !== undefined || findFile(place, /^[^/]*qrels?[^/]*$/i) === undefined),
  async load(place, spec) {
    const split = splitOf(place, spec.split);
    const qrelsFile = needFile(place, spec.qrels, `qrels/${split}.tsv`, ...judgementsOf(split));
    const queriesFile = needFile(place, spec.queries, 'queries.jsonl', ...QUERIES);
    const corpus = await needCollection(place, spec.corpus, 'corpus.jsonl', ...CORPUS);
    const qrels = await readQrels(qrelsFile);
    return {
      qrels,
      queries: judgedOnly(await readQueries(queriesFile, spec.field), qrels),
      passages: await openPassages(corpus),
      files: [...corpus, queriesFile, qrelsFile],
    };
  },
};
