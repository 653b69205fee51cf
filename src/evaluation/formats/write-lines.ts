import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { WinnowError } from '../../errors.ts';
import { replaceAtomic } from '../../util/files.ts';

const BATCH_CHARACTERS = 1 << 16;

/** Joins lines into pieces of about 64 KiB, so that a run of millions of lines is not millions of writes. */
function* batches(lines: Iterable<string>): Generator<string> {
  let batch = '';
  for (const line of lines) {
    batch += `${line}\n`;
    if (batch.length >= BATCH_CHARACTERS) {
      yield batch;
      batch = '';
    }
  }
  if (batch !== '') yield batch;
}

/** Joins lines that come one by one, as `batches` does. */
async function* streamed(lines: AsyncIterable<string>): AsyncGenerator<string> {
  let held: string[] = [];
  let size = 0;
  for await (const line of lines) {
    held.push(line);
    size += line.length;
    if (size < BATCH_CHARACTERS) continue;
    yield* batches(held);
    held = [];
    size = 0;
  }
  yield* batches(held);
}

/** Writes lines to `path` in constant memory, the whole file or none of it; packed if the name ends in `.gz`. */
export async function writeLines(path: string, lines: Iterable<string> | AsyncIterable<string>): Promise<void> {
  await replaceAtomic(path, async (temporary) => {
    const source = Readable.from(Symbol.asyncIterator in lines ? streamed(lines) : batches(lines));
    const target = createWriteStream(temporary, { flags: 'wx' });
    await (path.endsWith('.gz') ? pipeline(source, createGzip(), target) : pipeline(source, target));
  });
}

/**
 * Returns an id as a field of a line whose fields are separated by white space.
 *
 * @throws WinnowError `invalid_input` for an id that would be read back as another one: empty, with white space, or a first field that starts
 * a comment.
 */
export function fieldOf(id: string, place: 'first' | 'later', file: string): string {
  if (id !== '' && !/[ \t-\r]/.test(id) && !(place === 'first' && id.startsWith('#'))) return id;
  const expected = `ids without white space${place === 'first' ? ' or a leading #' : ''}, which lines of this format cannot hold`;
  throw new WinnowError('invalid_input', { where: file, expected, got: JSON.stringify(id) });
}
