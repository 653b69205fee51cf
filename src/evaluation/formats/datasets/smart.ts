import { readText } from '../../../util/text.ts';
import { memoryPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readSmartDocuments } from '../smart.ts';
import { readQueries } from '../topics.ts';
import { findFile, needFile, onlyPath } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

const CORPUS = /^[^/]*\.all$/i;
const QUERIES = [/^[^/]*\.qry$/i, /^query\.text$/i];
const QRELS = [/^[^/]*\.rel$/i, /^qrels\.text$/i];

/** Loads a collection as SMART distributed it: CISI, MED and ADI (`.ALL`, `.QRY`, `.REL`), CACM (`cacm.all`, `query.text`, `qrels.text`). */
export const smart: Loader = {
  shape: 'SMART folder: cisi.all, cisi.qry, cisi.rel (CACM: cacm.all, query.text, qrels.text)',
  detect: (place) =>
    !place.isFile && findFile(place, CORPUS) !== undefined && findFile(place, ...QUERIES) !== undefined,
  async load(place, spec) {
    const corpus = needFile(place, onlyPath(spec.corpus), '*.all', CORPUS);
    const queriesFile = needFile(place, spec.queries, '*.qry', ...QUERIES);
    const qrelsFile = needFile(place, spec.qrels, '*.rel', ...QRELS);
    return {
      qrels: await readQrels(qrelsFile),
      queries: await readQueries(queriesFile, spec.field),
      passages: memoryPassages(readSmartDocuments(await readText(corpus), corpus), corpus),
      files: [corpus, queriesFile, qrelsFile],
    };
  },
};
