import { basename } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { memoryPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readRankLlm } from '../read-rank-llm.ts';
import { readRun } from '../run.ts';
import { findFile, type Place, pathInside } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

const TAG = /dl-?(?:20)?(19|2[0-3])/i;

/** Finds the judgements beside the candidates: `BM25.dl19.top100.json` goes with `qrels.dl19-passage.txt`. */
function qrelsBeside(place: Place, given: string | undefined): string {
  if (given !== undefined) return pathInside(place, given);
  const tag = TAG.exec(basename(place.path))?.[1];
  const found = tag === undefined ? undefined : findFile(place, new RegExp(`^qrels.*dl-?(20)?${tag}`, 'i'));
  if (found !== undefined) return found;
  throw new WinnowError('invalid_input', {
    where: place.path,
    expected: 'a file of judgements (`qrels`)',
    got: 'none beside it',
  });
}

/** Loads candidate lists with their texts from one JSON file. */
export const rankLlm: Loader = {
  shape: 'rank_llm file: [{"query", "hits": [{"qid", "docid", "score", "content"}]}], qrels beside it',
  detect: (place) => place.isFile && /\.jsonl?(\.gz)?$/i.test(place.path),
  async load(place, spec) {
    const { queries, run, texts } = await readRankLlm(place.path);
    const qrelsFile = qrelsBeside(place, spec.qrels);
    return {
      queries,
      qrels: await readQrels(qrelsFile),
      candidates: spec.candidates === undefined ? run : await readRun(pathInside(place, spec.candidates)),
      passages: memoryPassages(texts, place.path),
      files: [place.path, qrelsFile],
    };
  },
};
