import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { WinnowError } from '../errors.ts';

const MAX_BYTES = 2 ** 20;

/** A file's text; nothing where there is none. Links may not lead out of the folder. @throws WinnowError `unsafe_path`, `body_too_large`. */
async function readInside(folder: string, file: string): Promise<string | undefined> {
  const root = await realpath(folder).catch(() => undefined);
  const path = root && (await realpath(join(root, file)).catch(() => undefined));
  if (!root || !path) return undefined;
  if (!path.startsWith(root + sep)) throw new WinnowError('unsafe_path', { file, got: 'a link that leads out of it' });
  // Whoever swaps the file for a pipe meanwhile must not make the server wait.
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

/** What a version's folder holds for people: its card (`README.md`) and the curve of its training (`curve.svg`). */
export async function readAbout(folder: string): Promise<{ readonly card?: string; readonly curve?: string }> {
  const [card, curve] = await Promise.all(['README.md', 'curve.svg'].map((file) => readInside(folder, file)));
  return { ...(card === undefined ? {} : { card }), ...(curve === undefined ? {} : { curve }) };
}
