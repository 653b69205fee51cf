import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { WinnowError } from '../errors.ts';
import { isObject, type JsonObject } from '../util/json-files.ts';
import { MAX_TOKENIZER_BYTES } from '../util/model-limits.ts';
import { parseJson } from '../util/parse-json.ts';
import { excerpt } from './model-names.ts';

export interface FolderLimits {
  /** The largest size of all files of a version together, in bytes. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  readonly maxDepth: number;
  /** The largest size of `config.json`, `model.json` and similar files, in bytes. */
  readonly maxJsonBytes: number;
  /** The largest size of `tokenizer.json` and vocabularies, in bytes. */
  readonly maxTokenizerBytes: number;
  /** The deepest nesting of brackets in a JSON file. */
  readonly maxJsonDepth: number;
}

export const DEFAULT_LIMITS: FolderLimits = {
  maxBytes: 8_589_934_592,
  maxFiles: 2000,
  maxDepth: 6,
  maxJsonBytes: 4_194_304,
  maxTokenizerBytes: MAX_TOKENIZER_BYTES,
  maxJsonDepth: 64,
};

export interface FolderFile {
  /** Relative to the version's folder, POSIX separators. */
  readonly path: string;
  readonly bytes: number;
  readonly modified: number;
  readonly inode: number;
}

function refuse(file: string, expected: string, got: string, field: string): never {
  throw new WinnowError('invalid_manifest', { file: excerpt(file), expected, got, field });
}

/** What to do about a link; for messages. */
export const LINK_CURE =
  'copy the folder with its links followed (`cp -rL FOLDER COPY`), or run `winnow models import`';

/** Where links may lead, and what the message says of others. */
export interface LinkRule {
  /** A resolved folder. */
  readonly into: string;
  readonly otherwise: string;
}

interface Walk {
  readonly root: string;
  readonly links: LinkRule;
  readonly limits: FolderLimits;
  readonly skip: ReadonlySet<string>;
  readonly found: FolderFile[];
  bytes: number;
}

async function visitLink(walk: Walk, path: string, full: string): Promise<void> {
  const target = await realpath(full).catch(() => undefined);
  if (!target?.startsWith(walk.links.into + sep))
    throw new WinnowError('unsafe_path', {
      file: excerpt(path),
      got: `a symbolic link to ${excerpt(target ?? 'nothing')}; ${walk.links.otherwise}`,
    });
  const facts = await stat(target);
  if (!facts.isFile()) refuse(path, 'a link to a regular file', 'a link to something else', 'type');
  add(walk, path, facts);
}

function add(walk: Walk, path: string, facts: { size: number; mtimeMs: number; ino: number }): void {
  walk.bytes += facts.size;
  walk.found.push({ path, bytes: facts.size, modified: facts.mtimeMs, inode: facts.ino });
  if (walk.found.length > walk.limits.maxFiles) refuse(path, `at most ${walk.limits.maxFiles} files`, 'more', 'files');
  if (walk.bytes > walk.limits.maxBytes)
    refuse(path, `at most ${walk.limits.maxBytes} bytes in the folder`, `${walk.bytes} or more`, 'bytes');
}

async function visit(walk: Walk, folder: string, depth: number): Promise<void> {
  if (depth > walk.limits.maxDepth)
    refuse(folder, `at most ${walk.limits.maxDepth} levels of folders`, 'more', 'depth');
  for (const name of (await readdir(join(walk.root, folder))).sort()) {
    const path = folder === '' ? name : `${folder}/${name}`;
    if (name.startsWith('.') || walk.skip.has(path)) continue;
    const full = join(walk.root, path);
    const facts = await lstat(full);
    if (facts.isSymbolicLink()) await visitLink(walk, path, full);
    else if (facts.isDirectory()) await visit(walk, path, depth + 1);
    else if (facts.isFile()) add(walk, path, facts);
    else refuse(path, 'a regular file', facts.isFIFO() ? 'a FIFO' : 'a device or socket', 'type');
  }
}

/**
 * Lists every file of a version's folder without opening any. Names that start with a dot are left out and never used.
 * @param skip Relative paths to leave out, folders included.
 * @param links Default: links may lead to files of the folder.
 * @throws WinnowError `unsafe_path` for other links; `invalid_manifest` for other than regular files and beyond a limit.
 */
export async function listFiles(
  folder: string,
  limits: FolderLimits = DEFAULT_LIMITS,
  skip: ReadonlySet<string> = new Set(),
  links?: LinkRule,
): Promise<readonly FolderFile[]> {
  const facts = await lstat(folder);
  if (!facts.isDirectory())
    refuse(folder, 'a folder', facts.isSymbolicLink() ? `a symbolic link; ${LINK_CURE}` : 'a file', 'type');
  const root = await realpath(folder);
  const walk: Walk = { root, links: links ?? { into: root, otherwise: LINK_CURE }, limits, skip, found: [], bytes: 0 };
  await visit(walk, '', 0);
  return walk.found;
}

/** Returns a text that changes when path, size, modification time or inode of a file changes. */
export function fingerprintOf(files: readonly FolderFile[]): string {
  return files.map((f) => `${f.path}\0${f.bytes}\0${f.modified}\0${f.inode}`).join('\n');
}

/** Opens a regular file. Does not block if the file was replaced by a FIFO after it was listed. */
export async function openRegular(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const facts = await handle.stat();
  if (facts.isFile()) return handle;
  await handle.close();
  return refuse(path, 'a regular file', 'something else', 'type');
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Returns a function that takes chunks of JSON text and returns the deepest nesting so far. It does not parse the text. */
function depthMeter(): (chunk: Uint8Array) => number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  let escaped = false;
  return (chunk) => {
    for (const byte of chunk) {
      if (escaped) escaped = false;
      else if (inString) {
        if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth);
      else if (byte === 0x5d || byte === 0x7d) depth--;
    }
    return deepest;
  };
}

/**
 * Checks the size and the nesting of a JSON file chunk by chunk, without keeping it in memory.
 * @throws WinnowError `invalid_manifest`.
 */
export async function checkJson(path: string, name: string, maxBytes: number, maxDepth: number): Promise<void> {
  const handle = await openRegular(path);
  try {
    const { size } = await handle.stat();
    if (size > maxBytes) refuse(name, `at most ${maxBytes} bytes`, `${size}`, 'bytes');
    const meter = depthMeter();
    const chunk = Buffer.allocUnsafe(65_536);
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.length);
      if (bytesRead === 0) return;
      if (meter(chunk.subarray(0, bytesRead)) > maxDepth)
        refuse(name, `JSON nested at most ${maxDepth} deep`, 'deeper', 'depth');
    }
  } finally {
    await handle.close();
  }
}

/**
 * Reads a small JSON file after checking its size and nesting.
 * @throws WinnowError `invalid_manifest`.
 */
export async function readJson(path: string, name: string, limits: FolderLimits = DEFAULT_LIMITS): Promise<unknown> {
  await checkJson(path, name, limits.maxJsonBytes, limits.maxJsonDepth);
  const handle = await openRegular(path);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await handle.readFile());
    return parseJson(text);
  } catch (error) {
    return refuse(name, 'JSON text in UTF-8', excerpt((error as Error).message), 'syntax');
  } finally {
    await handle.close();
  }
}

/** Reads a small JSON file that holds an object. @throws WinnowError `invalid_manifest`. */
export async function readJsonObject(
  path: string,
  name: string,
  limits: FolderLimits = DEFAULT_LIMITS,
): Promise<JsonObject> {
  const value = await readJson(path, name, limits);
  return isObject(value) ? value : refuse(name, 'a JSON object', 'another JSON value', 'type');
}

/** A folder whose files are listed. */
export interface ListedFolder {
  readonly folder: string;
  readonly paths: ReadonlySet<string>;
  readonly limits: FolderLimits;
}

/** Reads a small JSON file that holds an object; returns an empty one where the folder lacks it. @throws WinnowError `invalid_manifest`. */
export const readOptionalObject = async ({ folder, paths, limits }: ListedFolder, file: string): Promise<JsonObject> =>
  paths.has(file) ? readJsonObject(join(folder, file), file, limits) : {};
