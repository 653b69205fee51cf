import { existsSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { writeFolderAtomic } from '../../../util/files.ts';
import type { Passage } from '../../formats/passage-store.ts';
import { ByteWriter } from './byte-files.ts';
import { filesOf, INDEX_FORMAT, type IndexFacts, type IndexFiles } from './index-files.ts';
import { mergeRuns } from './merge.ts';
import { PostingsBatch } from './postings-batch.ts';

interface BuildOptions {
  /** Postings held in memory before they are written as a sorted run, 16 bytes each; default 4 million. */
  readonly batchPostings?: number;
  readonly onPassage?: (passages: number) => void;
}

const BATCH_POSTINGS = 4_000_000;

/** Result of one pass over the passages: paths of the sorted runs, and lengths in terms. */
interface Pass {
  readonly runs: readonly string[];
  readonly lengths: Uint32Array;
}

async function collectPostings(
  folder: string,
  files: IndexFiles,
  passages: AsyncIterable<Passage>,
  { batchPostings = BATCH_POSTINGS, onPassage }: BuildOptions,
): Promise<Pass> {
  const batch = new PostingsBatch(batchPostings);
  const ids = new ByteWriter(files.ids);
  const runs: string[] = [];
  const flush = (): void => {
    runs.push(join(folder, `run-${runs.length}.tmp`));
    batch.flush(runs.at(-1)!);
  };
  let lengths = new Uint32Array(1 << 12);
  let count = 0;
  try {
    for await (const { id, text } of passages) {
      let length = batch.add(count, text);
      if (length < 0) {
        flush();
        length = batch.add(count, text);
      }
      if (count === lengths.length) {
        const grown = new Uint32Array(2 * count);
        grown.set(lengths);
        lengths = grown;
      }
      lengths[count++] = length;
      ids.text(id);
      onPassage?.(count);
    }
  } finally {
    ids.close();
  }
  if (batch.postings > 0) flush();
  return { runs, lengths: lengths.subarray(0, count) };
}

function writeLengths(path: string, lengths: Uint32Array): void {
  const writer = new ByteWriter(path);
  writer.bytes(new Uint8Array(lengths.buffer, lengths.byteOffset, lengths.byteLength));
  writer.close();
}

const sizeOf = (path: string): number => statSync(path).size;

/**
 * Builds a BM25 index on disk: writes sorted runs of postings as memory fills and merges them at the end. Memory holds a batch of postings,
 * the vocabulary of that batch and 4 bytes a passage. The folder appears whole or not at all.
 *
 * @throws WinnowError `invalid_input` if `folder` exists already or no passage has a term.
 */
export async function buildIndex(
  folder: string,
  passages: AsyncIterable<Passage>,
  options: BuildOptions = {},
): Promise<IndexFacts> {
  if (existsSync(folder))
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'a new folder',
      got: 'an existing one; remove it, or give --force',
    });
  let facts: IndexFacts | undefined;
  await writeFolderAtomic(folder, async (temporary) => {
    const files = filesOf(temporary);
    const { runs, lengths } = await collectPostings(temporary, files, passages, options);
    writeLengths(files.lengths, lengths);
    const merged = mergeRuns(runs, files);
    await Promise.all(runs.map((run) => rm(run)));
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    if (tokens === 0)
      throw new WinnowError('invalid_input', { where: folder, expected: 'at least 1 passage with a term', got: '0' });
    const { terms, blocks, postings, lengths: lengthFile, ids } = files;
    facts = {
      format: INDEX_FORMAT,
      analyzer: 'english',
      passages: lengths.length,
      tokens,
      ...merged,
      withTerms: lengths.reduce((sum, length) => sum + (length > 0 ? 1 : 0), 0),
      bytes: {
        terms: sizeOf(terms),
        blocks: sizeOf(blocks),
        postings: sizeOf(postings),
        lengths: sizeOf(lengthFile),
        ids: sizeOf(ids),
      },
    };
    await writeFile(files.facts, `${JSON.stringify(facts, null, 2)}\n`);
  });
  return facts!;
}
