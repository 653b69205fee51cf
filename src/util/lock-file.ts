import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { WinnowError } from '../errors.ts';
import { withTemporary } from './files.ts';
import { isObject } from './json-files.ts';
import { parseJson } from './parse-json.ts';
import { isRunning, startOf } from './processes.ts';

/*
 * A lock is a file that names its process. It appears with its content or not at all (a hard link), and one whose process is gone is taken
 * over: the same host, and the id is not in use, or in use by a process with another start.
 */

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** `startOf` the process; absent where the system does not say. */
  readonly start?: string | undefined;
  /** ISO 8601, for people. */
  readonly since: string;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = parseJson(text);
    if (!isObject(value)) return undefined;
    const { pid, host, start, since } = value;
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof since !== 'string') return undefined;
    return { pid, host, since, ...(typeof start === 'string' && { start }) };
  } catch {
    return undefined;
  }
}

/** Whether the holder is known to be gone. A process of another host cannot be looked at. */
function isGone({ pid, host, start }: Holder): boolean {
  if (host !== hostname()) return false;
  return !isRunning(pid) || (start !== undefined && startOf(pid) !== start);
}

function refusal(path: string, holder: Holder | undefined, cure: string): WinnowError {
  const params = { where: path.replace(/(\/run)?\.lock$/, ''), cure };
  if (!holder)
    return new WinnowError('in_use', {
      ...params,
      got: `${path}, which names none`,
      cure: `remove that file if nothing runs there`,
    });
  const { pid, host, since } = holder;
  if (host === hostname()) return new WinnowError('in_use', { ...params, got: `pid ${pid} since ${since}` });
  return new WinnowError('in_use', {
    ...params,
    got: `pid ${pid} of host ${host} since ${since}`,
    cure: `${cure}; if it has ended, remove ${path}`,
  });
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

const readLock = (path: string): Promise<string | undefined> =>
  readFile(path, 'utf8').catch((error) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });

/** What file systems without hard links answer to `link`. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'];

/** Creates the lock file with its whole content. @returns whether there was none. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    await withTemporary(path, async (temporary) => {
      await writeFile(temporary, text, { flag: 'wx' });
      await link(temporary, path).catch((error) => {
        if (!NO_LINKS.includes(codeOf(error) ?? '')) throw error;
        return writeFile(path, text, { flag: 'wx' });
      });
    });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Removes a lock whose holder is gone; one that another process has created meanwhile is put back. */
async function removeStale(path: string, stale: string): Promise<void> {
  await withTemporary(path, async (aside) => {
    await rename(path, aside);
    if ((await readLock(aside)) !== stale) await link(aside, path);
  }).catch((error) => {
    // Another process was quicker.
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EEXIST') throw error;
  });
}

/** Takes the lock. @returns what holds it instead: a lock's text, whose process runs or is not known. */
async function acquire(path: string, text: string): Promise<string | undefined> {
  // Each round ends with the lock taken, found held, or one stale lock removed.
  for (;;) {
    if (await create(path, text)) return undefined;
    const found = await readLock(path);
    if (found === undefined) continue;
    const holder = parseHolder(found);
    if (!holder || !isGone(holder)) return found;
    await removeStale(path, found);
  }
}

/** Returns what a lock of this process says. */
function ownText(): string {
  const { pid } = process;
  const start = startOf(pid);
  const holder: Holder = { pid, host: hostname(), ...(start && { start }), since: new Date().toISOString() };
  return `${JSON.stringify(holder)}\n`;
}

async function release(path: string, text: string): Promise<void> {
  if ((await readLock(path).catch(() => undefined)) === text) await rm(path, { force: true });
}

/** Takes the lock file at `path` unless it is held, as `withLock` does. @returns what releases it; undefined where another holds it. */
export async function tryLock(path: string): Promise<(() => Promise<void>) | undefined> {
  const text = ownText();
  return (await acquire(path, text)) === undefined ? () => release(path, text) : undefined;
}

/**
 * Does `work` while this process holds the lock file at `path`, so that no other process does the same there. Makes missing folders. A lock
 * whose process has ended without removing it is taken over.
 * @param cure what the refused user can do, such as `give another --run`.
 * @throws WinnowError `in_use`, which names the process that holds the lock, at once: it does not wait.
 */
export async function withLock<T>(path: string, cure: string, work: () => Promise<T>): Promise<T> {
  const text = ownText();
  const held = await acquire(path, text);
  if (held !== undefined) throw refusal(path, parseHolder(held), cure);
  try {
    return await work();
  } finally {
    await release(path, text);
  }
}

/** Does `work` while no other process writes the output file, nor continues what such a process has begun. @throws WinnowError `in_use`. */
export const lockOutput = <T>(path: string, work: () => Promise<T>): Promise<T> =>
  withLock(`${path}.lock`, 'wait for it, or give another --out', work);
