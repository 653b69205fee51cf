import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { StartProgress } from '../../../util/progress.ts';
import { openCollection } from '../../formats/load-dataset.ts';
import { buildIndex } from './build-index.ts';

interface IndexOptions {
  readonly batchPostings: number;
  /** Remove an index that is there. */
  readonly replace: boolean;
  readonly progress: StartProgress;
}

/** Builds the BM25 index of a collection or data set in the folder `out`. @returns what the index holds. */
export async function indexCollection(
  paths: readonly string[],
  out: string,
  options: IndexOptions,
): Promise<Awaited<ReturnType<typeof buildIndex>>> {
  const passages = await openCollection(paths);
  if (options.replace && existsSync(out)) await rm(out, { recursive: true });
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
