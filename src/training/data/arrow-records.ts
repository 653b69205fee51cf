import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { RecordBatchReader, StructRow, Vector } from 'apache-arrow';
import { WinnowError } from '../../errors.ts';
import { unreadable } from '../../util/bytes.ts';
import type { JsonObject } from '../../util/json-files.ts';
import type { DataRecord } from './raw-list.ts';

/** Returns a cell as JSON holds it: lists, structures, numbers; integers beyond 2⁵³ as text, so that no digit is lost. */
function plain(cell: unknown): unknown {
  if (typeof cell === 'bigint') {
    const number = Number(cell);
    return Number.isSafeInteger(number) ? number : String(cell);
  }
  if (cell instanceof Vector) return Array.from(cell, plain);
  if (cell instanceof StructRow) return plainRow(cell);
  return cell;
}

const plainRow = (row: StructRow): JsonObject =>
  Object.fromEntries(Array.from(row, ([name, cell]) => [String(name), plain(cell)]));

/** How a file begins and ends; a stream does neither. */
const MAGIC = 'ARROW1';

/** How a complete stream ends: a message of length 0. The reader takes a file that is cut between messages for a complete one. */
const END = 'ffffffff00000000';

/** Tells a file from a stream, and checks that it is complete. @throws WinnowError `invalid_input` for a part of one. */
async function isIndexed(path: string): Promise<boolean> {
  const file = await open(path).catch((error) => {
    throw unreadable(path, error);
  });
  try {
    const { size } = await file.stat();
    const [first, last] = [Buffer.alloc(MAGIC.length), Buffer.alloc(END.length / 2)];
    await file.read(first, 0, first.length, 0);
    if (size >= last.length) await file.read(last, 0, last.length, size - last.length);
    const indexed = first.toString('latin1') === MAGIC;
    if (indexed ? last.toString('latin1').endsWith(MAGIC) : last.toString('hex') === END) return indexed;
    throw new WinnowError('invalid_input', {
      where: path,
      expected: `an Arrow ${indexed ? 'file' : 'stream'} up to its end mark, as save_to_disk writes it`,
      got: `${size} bytes without it`,
    });
  } finally {
    await file.close();
  }
}

/**
 * Yields the rows of an Arrow stream, as `save_to_disk` of Hugging Face datasets writes them, or of an Arrow file (Feather), one record batch in
 * memory at a time. Source: Apache Arrow, IPC streaming and file format.
 * @throws WinnowError `invalid_input` for other files, or a part of one.
 */
export async function* arrowRecords(path: string): AsyncGenerator<DataRecord> {
  const handle = (await isIndexed(path)) ? await open(path) : undefined;
  const bytes = createReadStream(path);
  // An iterator that is left early no longer waits for the stream's end; without a listener its error would end the process.
  bytes.on('error', () => {});
  let number = 0;
  try {
    const reader = handle ? await RecordBatchReader.from(handle) : await RecordBatchReader.from(bytes);
    for await (const batch of reader)
      for (const row of batch) {
        number++;
        yield { cells: row === null ? {} : plainRow(row), where: `${path}, row ${number}` };
      }
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    if (error instanceof Error && 'code' in error) throw unreadable(path, error);
    throw new WinnowError('invalid_input', {
      where: number === 0 ? path : `${path}, after row ${number}`,
      expected: 'an Arrow stream, as save_to_disk writes it',
      got: (error as Error).message,
    });
  } finally {
    bytes.destroy();
    await handle?.close().catch(() => undefined);
  }
}
