import { memoryPassages, openPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readQueries } from '../topics.ts';
import { findFile, needFile } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

const CORPUS = [/^(corpus|collection|documents|passages)\.(jsonl|tsv)$/, /\.(corpus|collection)\.(jsonl|tsv)$/];

/**
 * Loads plain files: topics (SGML, tab-separated or JSON lines), TREC qrels, and a collection of one passage a line (`id <tab> text` or
 * JSON lines). Robust04's documents are licensed: without a collection the set can be measured but not re-ranked.
 */
export const trec: Loader = {
  shape: 'folder with topics*, qrels* and corpus.jsonl or collection.tsv (TREC, Robust04)',
  detect: (place) =>
    !place.isFile &&
    findFile(place, /^qrels[^/]*$/) !== undefined &&
    findFile(place, /^(topics|queries)/) !== undefined,
  async load(place, spec) {
    const split = spec.split === undefined ? '' : `.*${spec.split}`;
    const queriesFile = needFile(place, spec.queries, 'topics*.txt', new RegExp(`^(topics|queries)${split}`));
    const qrelsFile = needFile(place, spec.qrels, 'qrels*.txt', new RegExp(`^qrels${split}[^/]*$`));
    const corpus =
      spec.corpus === undefined ? findFile(place, ...CORPUS) : needFile(place, spec.corpus, 'a collection');
    return {
      queries: await readQueries(queriesFile, spec.field),
      qrels: await readQrels(qrelsFile),
      passages:
        corpus === undefined ? memoryPassages(new Map(), `${place.path} (no collection)`) : await openPassages(corpus),
      files: corpus === undefined ? [queriesFile, qrelsFile] : [corpus, queriesFile, qrelsFile],
    };
  },
};
