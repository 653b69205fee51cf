import { mkdir, statfs } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';

const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`;

/** Returns the bytes that a folder's disk has left. */
export async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * Checks that a folder has room for that many bytes; makes it where it is missing.
 * @param what is to be written there.
 * @throws WinnowError `invalid_input` with both sizes.
 */
export async function checkSpace(folder: string, bytes: number, what: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const free = await freeBytesOf(folder);
  if (free >= bytes) return;
  const expected = `room for ${what}, about ${mib(bytes)}`;
  throw new WinnowError('invalid_input', {
    where: folder,
    expected,
    got: `${mib(free)}; free space, or name another folder`,
  });
}
