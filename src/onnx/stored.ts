import { closeSync, openSync, readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';

/** Most bytes of one read or write. */
export const CHUNK = 1 << 30;

/** Reads bytes of a file. @throws WinnowError `invalid_graph` where it ends before. */
export function readStored(path: string, at: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const fd = openSync(path, 'r');
  try {
    for (let done = 0; done < length; ) {
      const got = readSync(fd, bytes, done, Math.min(length - done, CHUNK), at + done);
      if (got === 0)
        throw new WinnowError('invalid_graph', { where: path, expected: `${length} bytes at ${at}`, got: `${done}` });
      done += got;
    }
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** Reads bytes of an open file. @throws WinnowError `invalid_graph` where it ends before. */
export async function readExactly(
  file: FileHandle,
  path: string,
  at: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(length - done, CHUNK), at + done);
    if (bytesRead === 0)
      throw new WinnowError('invalid_graph', { where: path, expected: `${length} bytes at ${at}`, got: `${done}` });
    done += bytesRead;
  }
  return bytes;
}
