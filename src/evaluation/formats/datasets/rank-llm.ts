import { basename } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { memoryPassages } from '../passages.ts';
import { readQrels } from '../qrels.ts';
import { readRankLlm } from '../read-rank-llm.ts';
import { readRun } from '../run.ts';
import { findFile, findFiles, type Place, pathInside } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

const TAG = /dl-?(?:20)?(19|2[0-3])/i;

/**
 * Finds the judgements beside the candidates: `BM25.dl19.top100.json` goes with `qrels.dl19-passage.txt`, any file with the only one that is
 * named `qrels`.
 */
function qrelsBeside(place: Place, given: string | undefined): string {
  if (given !== undefined) return pathInside(place, given);
  const tag = TAG.exec(basename(place.path))?.[1];
  const tagged = tag === undefined ? undefined : findFile(place, new RegExp(`^qrels.*dl-?(20)?${tag}`, 'i'));
  const found = tagged === undefined ? findFiles(place, /^qrels?\b[^/]*$/i) : [tagged];
  if (found.length === 1) return found[0]!;
  throw new WinnowError('invalid_input', {
    where: place.path,
    expected: 'a file of judgements (`qrels`)',
    got:
      found.length === 0 ? 'none beside it' : `${found.length} beside it: ${found.map((f) => basename(f)).join(', ')}`,
  });
}

/** Loads candidate lists with their texts from one JSON file. */
export const rankLlm: Loader = {
  shape: 'rank_llm file: [{"query", "hits": [{"qid", "docid", "score", "content"}]}], qrels beside it',
  detect: (place) => place.isFile && /\.jsonl?(\.(?:gz|zst))?$/i.test(place.path),
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
