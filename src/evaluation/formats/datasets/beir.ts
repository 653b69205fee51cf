import { WinnowError } from '../../../errors.ts';
import type { Qrels } from '../../measures/ranked.ts';
import { openPassages } from '../passages.ts';
import { addJudgement, type MutableQrels, readQrels } from '../qrels.ts';
import type { TopicField } from '../topic-fields.ts';
import { addOnce, type Queries, readQueries } from '../topics.ts';
import { findFile, findFiles, needCollection, needFiles, type Place } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Keeps the queries that are judged: BEIR puts the queries of all splits in one file. */
export function judgedOnly(
  queries: ReadonlyMap<string, string>,
  qrels: ReadonlyMap<string, unknown>,
): Map<string, string> {
  return new Map([...queries].filter(([qid]) => qrels.has(qid)));
}

const ROWS = '(jsonl|ndjson|json|parquet)';

/** Returns where a collection or its queries are: a file, or the files of a configuration, those that are named after the split first. */
const partsOf = (name: string, split?: string): RegExp[] => [
  new RegExp(`^${name}\\.(jsonl|parquet)$`),
  ...(split === undefined ? [] : [new RegExp(`^${name}/${split}(-\\d{5}-of-\\d{5})?\\.${ROWS}$`)]),
  new RegExp(`^${name}/[^/]+\\.${ROWS}$`),
];

/**
 * Returns the split of a folder: `test` unless the specification says otherwise, or what all files of a configuration are named after
 * (NanoBEIR has everything in `train`).
 */
function splitOf(place: Place, given: string | undefined): string {
  const files = findFiles(place, /^qrels\/[^/]+$/);
  const own = new Set(files.map((file) => /([\w.]+?)(-\d{5}-of-\d{5})?\.\w+(\.(?:gz|zst))?$/.exec(file)?.[1]));
  const configured = findFile(place, /^corpus\/train[-.]/) !== undefined && own.size === 1;
  return given ?? (configured ? [...own][0]! : 'test');
}

/** Returns where the judgements of a split are: BEIR's `qrels/`, and the configurations of MTEB's data sets. */
const judgementsOf = (split: string): RegExp[] => [
  new RegExp(`^qrels/${split}\\.tsv$`),
  ...['qrels', 'default', 'data'].map(
    (folder) => new RegExp(`^${folder}/${split}(-\\d{5}-of-\\d{5})?\\.(tsv|jsonl|ndjson|json|txt|trec|qrels|parquet)$`),
  ),
];

const again = (where: string, expected: string, id: string): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: `${id} again` });

/** Reads judgements that lie in several files. */
async function readAllQrels(paths: readonly string[]): Promise<Qrels> {
  if (paths.length === 1) return readQrels(paths[0]!);
  const all: MutableQrels = new Map();
  for (const path of paths)
    for (const [qid, judgements] of await readQrels(path))
      for (const [docid, grade] of judgements)
        if (!addJudgement(all, qid, docid, grade)) throw again(path, `each document once for query ${qid}`, docid);
  return all;
}

/** Reads queries that lie in several files. */
async function readAllQueries(paths: readonly string[], field: TopicField | undefined): Promise<Queries> {
  if (paths.length === 1) return readQueries(paths[0]!, field);
  const all = new Map<string, string>();
  for (const path of paths)
    for (const [qid, text] of await readQueries(path, field))
      addOnce(all, qid, text, () => again(path, 'each id once', qid));
  return all;
}

/** Loads a BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv`, or MTEB's and NanoBEIR's folders of that content. */
export const beir: Loader = {
  shape:
    'BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv (MTEB, NanoBEIR: corpus/*.parquet, queries/*.parquet, qrels/*.parquet, or *.jsonl)',
  detect: (place) =>
    !place.isFile &&
    findFile(place, ...partsOf('corpus')) !== undefined &&
    // A folder with judgements next to the collection holds plain files: `trec` loads it.
    (findFile(place, /^(qrels|default|data)\//) !== undefined || findFile(place, /^[^/]*qrels?[^/]*$/i) === undefined),
  async load(place, spec) {
    const split = splitOf(place, spec.split);
    const qrelsFiles = needFiles(place, spec.qrels, `qrels/${split}.tsv`, ...judgementsOf(split));
    const queriesFiles = needFiles(place, spec.queries, 'queries.jsonl', ...partsOf('queries', split));
    const corpus = await needCollection(place, spec.corpus, 'corpus.jsonl', ...partsOf('corpus', split));
    const qrels = await readAllQrels(qrelsFiles);
    return {
      qrels,
      queries: judgedOnly(await readAllQueries(queriesFiles, spec.field), qrels),
      passages: await openPassages(corpus),
      files: [...corpus, ...queriesFiles, ...qrelsFiles],
    };
  },
};
