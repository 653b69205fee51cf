import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bm25Index } from '../../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../../src/evaluation/first-stage/index/build-index.ts';
import type { Passage } from '../../../src/evaluation/formats/passage-store.ts';

export async function* passagesOf(texts: readonly string[]): AsyncGenerator<Passage> {
  for (const [i, text] of texts.entries()) yield { id: `d${i}`, text };
}

/** Builds an index of texts in a temporary folder, passes it to the callback, and removes it. */
export async function withIndex<T>(
  texts: readonly string[],
  batchPostings: number,
  work: (index: Bm25Index, folder: string) => T | Promise<T>,
): Promise<T> {
  const parent = mkdtempSync(join(tmpdir(), 'winnow-bm25-'));
  try {
    const folder = join(parent, 'index');
    await buildIndex(folder, passagesOf(texts), { batchPostings });
    const index = new Bm25Index(folder);
    try {
      return await work(index, folder);
    } finally {
      index.close();
    }
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}
