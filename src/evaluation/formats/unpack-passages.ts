import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { temporaryFolder } from '../../util/files.ts';
import { PARQUET, PASSAGE_FORMATS } from './passage-formats.ts';
import { indexPassages, scanAll } from './passage-index.ts';
import type { PassageStore } from './passage-store.ts';

/** Most characters that are written at once. */
const BLOCK = 1 << 20;

/**
 * Opens Parquet files that are too large for memory. A single passage of Parquet cannot be read, so all are written as JSON lines to the
 * system's folder for temporary files, behind an index of offsets. The name of the copy is removed once it is open; its space is freed when
 * the process ends.
 */
export async function unpackPassages(paths: readonly string[]): Promise<PassageStore> {
  const folder = await temporaryFolder('passages');
  try {
    const copy = join(folder.path, 'passages.jsonl');
    const starts: number[] = [];
    let count = 0;
    async function* lines(): AsyncGenerator<string> {
      let block = '';
      for (const path of paths) {
        starts.push(count);
        for await (const { id, text } of PARQUET.entries(path)) {
          block += `${JSON.stringify({ id, text })}\n`;
          count++;
          if (block.length < BLOCK) continue;
          yield block;
          block = '';
        }
      }
      yield block;
    }
    await pipeline(lines, createWriteStream(copy));
    const place = (_: string, line: number): string => {
      const file = starts.findLastIndex((start) => start < line);
      return PARQUET.place(paths[file]!, line - starts[file]!);
    };
    const store = await indexPassages([copy], PASSAGE_FORMATS.json, { source: paths.join(', '), place });
    return { size: store.size, texts: store.texts, entries: () => scanAll(paths, PARQUET), close: store.close };
  } finally {
    await folder.remove();
  }
}
