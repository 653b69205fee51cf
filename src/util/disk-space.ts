import { mkdir, statfs } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';

const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`;

/**
 * Checks that a folder has room for that many bytes; makes it where it is missing.
 * @param what is to be written there.
 * @throws WinnowError `invalid_input` with both sizes.
 */
export async function checkSpace(folder: string, bytes: number, what: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  const expected = `room for ${what}, about ${mib(bytes)}`;
  throw new WinnowError('invalid_input', {
    where: folder,
    expected,
    got: `${mib(free)}; free space, or name another folder`,
  });
}
