import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { WinnowError } from '../errors.ts';

const MAX_BYTES = 2 ** 20;

/** Returns a file's text; undefined if there is none. Links must not lead out of the folder. @throws WinnowError `unsafe_path`, `body_too_large`. */
async function readInside(folder: string, file: string): Promise<string | undefined> {
  const root = await realpath(folder).catch(() => undefined);
  const path = root && (await realpath(join(root, file)).catch(() => undefined));
  if (!root || !path) return undefined;
  if (!path.startsWith(root + sep)) throw new WinnowError('unsafe_path', { file, got: 'a link that leads out of it' });
  // The file may have been replaced by a pipe since, on which an open without O_NONBLOCK would wait.
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return undefined;
    if (stat.size > MAX_BYTES) throw new WinnowError('body_too_large', { limit: MAX_BYTES, got: stat.size });
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** Reads the card (`README.md`) and the training curve (`curve.svg`) in a version's folder. */
export async function readAbout(folder: string): Promise<{ readonly card?: string; readonly curve?: string }> {
  const [card, curve] = await Promise.all(['README.md', 'curve.svg'].map((file) => readInside(folder, file)));
  return { ...(card === undefined ? {} : { card }), ...(curve === undefined ? {} : { curve }) };
}
