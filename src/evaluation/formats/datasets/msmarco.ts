import { openPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readQueries } from '../topics.ts';
import { judgedOnly } from './beir.ts';
import { findFile, needCollection, needFile } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Loads MS MARCO passages: `collection.tsv`, `queries.{split}.tsv`, `qrels.{split}.tsv`; the default split is `dev.small`, else `dev`. */
export const msmarco: Loader = {
  shape: 'MS MARCO folder: collection.tsv, queries.dev.small.tsv, qrels.dev.small.tsv',
  detect: (place) =>
    !place.isFile &&
    findFile(place, /^queries\..*tsv$/) !== undefined &&
    findFile(place, /^collection\.tsv$/) !== undefined,
  async load(place, spec) {
    const splits = spec.split === undefined ? ['dev\\.small', 'dev'] : [spec.split.replaceAll('.', '\\.')];
    const names = (kind: string): RegExp[] => splits.map((split) => new RegExp(`^${kind}\\.${split}\\.tsv$`));
    const corpus = await needCollection(place, spec.corpus, 'collection.tsv', /^collection\.tsv$/);
    const queriesFile = needFile(place, spec.queries, 'queries.dev.small.tsv', ...names('queries'));
    const qrelsFile = needFile(place, spec.qrels, 'qrels.dev.small.tsv', ...names('qrels'));
    const qrels = await readQrels(qrelsFile);
    return {
      qrels,
      queries: judgedOnly(await readQueries(queriesFile), qrels),
      passages: await openPassages(corpus),
      files: [...corpus, queriesFile, qrelsFile],
    };
  },
};
