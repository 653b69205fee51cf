import { readText } from '../../../util/text.ts';
import { memoryPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readSmartDocuments, readSmartQueries } from '../smart.ts';
import { findFile, needFile, onlyPath } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Loads Cranfield 1400 as SMART distributed it: `cran.all.1400`, `cran.qry`, `cranqrel`. */
export const cranfield: Loader = {
  shape: 'Cranfield folder: cran.all.1400, cran.qry, cranqrel',
  detect: (place) => !place.isFile && findFile(place, /^cran\.all/) !== undefined,
  async load(place, spec) {
    const corpus = needFile(place, onlyPath(spec.corpus), 'cran.all.1400', /^cran\.all/);
    const queriesFile = needFile(place, spec.queries, 'cran.qry', /^cran\.qry$/);
    const qrelsFile = needFile(place, spec.qrels, 'cranqrel', /^cranqrel$/);
    return {
      qrels: await readQrels(qrelsFile, true),
      queries: readSmartQueries(await readText(queriesFile), queriesFile, true),
      passages: memoryPassages(readSmartDocuments(await readText(corpus), corpus, true), corpus),
      files: [corpus, queriesFile, qrelsFile],
    };
  },
};
