import { existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Progress } from '../../../util/progress.ts';
import { loadDataset } from '../../formats/load-dataset.ts';
import type { PassageStore } from '../../formats/passage-store.ts';
import { openPassages } from '../../formats/passages.ts';
import { buildIndex } from './build-index.ts';

interface IndexOptions {
  readonly batchPostings: number;
  /** Remove an index that is there. */
  readonly replace: boolean;
  readonly progress: (label: string, total: number) => Progress;
}

/** Opens a collection of one passage a line, or the passages of a data set. */
async function passagesAt(path: string): Promise<PassageStore> {
  const single = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  return single && /\.(tsv|jsonl|txt)(\.gz)?$/i.test(path) ? openPassages(path) : (await loadDataset(path)).passages;
}

/** Builds the BM25 index of a collection or data set in the folder `out`. @returns what the index holds. */
export async function indexCollection(
  path: string,
  out: string,
  options: IndexOptions,
): Promise<Awaited<ReturnType<typeof buildIndex>>> {
  if (options.replace && existsSync(out)) await rm(out, { recursive: true });
  const passages = await passagesAt(path);
  const progress = options.progress('index', passages.size);
  const facts = await buildIndex(out, passages.entries(), {
    batchPostings: options.batchPostings,
    onPassage: (count) => {
      if (count % 1000 === 0) progress.update(count, 'passages');
    },
  });
  progress.update(facts.passages, 'passages');
  progress.stop();
  await passages.close();
  return facts;
}
