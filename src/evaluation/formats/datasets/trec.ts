import { join } from 'node:path';
import { collectionFiles, holdsDocuments, memoryPassages, openPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readQueries } from '../topics.ts';
import { findFile, findFiles, needCollection, needOneFile, type Place } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

const CORPUS = [
  /^(corpus|collection|documents|docs|passages)\.(jsonl|ndjson|parquet|tsv|sgml|xml|trec|txt)$/,
  /\.(corpus|collection|documents|docs|passages)\.(jsonl|ndjson|parquet|tsv)$/,
];
const CORPUS_FOLDER = /^(corpus|collection|documents|docs|passages)$/;

const topicsOf = (split: string): RegExp[] => [
  new RegExp(`^(topics|queries)${split}[^/]*$`),
  new RegExp(`^[^/]*${split}[^/]*\\.(topics|queries)(\\.\\w+)?$`),
];

const qrelsOf = (split: string): RegExp[] => [
  new RegExp(`^qrels?${split}[^/]*$`),
  new RegExp(`^[^/]*${split}[^/]*\\.qrels?(\\.\\w+)?$`),
  new RegExp(`^qrels/[^/]*${split}[^/]*$`),
];

/** Finds a collection without a name of its own: a folder of passages, or files and folders of `<DOC>` documents. */
async function unnamedCollection(place: Place, taken: readonly string[]): Promise<string[]> {
  const folder = place.folders.find((name) => CORPUS_FOLDER.test(name));
  if (folder !== undefined) return collectionFiles([join(place.folder, folder)]);
  const found: string[] = [];
  for (const name of [...place.files.filter((file) => !file.includes('/')), ...place.folders]) {
    const path = join(place.folder, name);
    if (!taken.includes(path) && (await holdsDocuments(path))) found.push(path);
  }
  return collectionFiles(found);
}

/**
 * Loads plain files: topics (XML, SGML, tab-separated or JSON lines), judgements, and a collection: one passage a line, JSON lines, or files
 * and folders of `<DOC>` documents. Robust04's documents are licensed: without a collection the set can be measured but not re-ranked.
 */
export const trec: Loader = {
  shape: 'folder with topics*, qrels* and corpus.jsonl, collection.tsv or <DOC> files (TREC, Robust04, ir_datasets)',
  detect: (place) =>
    !place.isFile && findFile(place, ...qrelsOf('')) !== undefined && findFile(place, ...topicsOf('')) !== undefined,
  async load(place, spec) {
    const split = spec.split === undefined ? '' : `.*${spec.split}`;
    const queriesFile = needOneFile(place, spec.queries, 'topics*.txt', ...topicsOf(split));
    const qrelsFile = needOneFile(place, spec.qrels, 'qrels*.txt', ...qrelsOf(split));
    const named =
      spec.corpus === undefined
        ? findFiles(place, ...CORPUS)
        : await needCollection(place, spec.corpus, 'a collection');
    const corpus = named.length > 0 ? named : await unnamedCollection(place, [queriesFile, qrelsFile]);
    return {
      queries: await readQueries(queriesFile, spec.field),
      qrels: await readQrels(qrelsFile),
      passages:
        corpus.length === 0 ? memoryPassages(new Map(), `${place.path} (no collection)`) : await openPassages(corpus),
      files: [...corpus, queriesFile, qrelsFile],
    };
  },
};
