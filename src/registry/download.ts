import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WinnowError } from '../errors.ts';
import { sha256File } from '../util/files.ts';
import type { StartProgress } from '../util/progress.ts';
import { readAhead } from '../util/read-ahead.ts';
import { RetriableError, retry } from '../util/retry.ts';

type Fetch = (
  url: string,
  init: { readonly headers: Record<string, string>; readonly signal: AbortSignal },
) => Promise<Response>;

export interface DownloadOptions {
  readonly fetch: Fetch;
  readonly headers: Readonly<Record<string, string>>;
  /** The largest size of the file, in bytes. */
  readonly maxBytes: number;
  readonly startProgress: StartProgress;
  /** Milliseconds before the second attempt; doubles each time. Default: 500. */
  readonly retryMs?: number | undefined;
  /** Milliseconds without a byte after which an attempt ends. Default: 60,000. */
  readonly idleMs?: number | undefined;
  /** Path of the part that arrived. Default: that of the file with `.part`. */
  readonly part?: string;
  /** SHA-256 of the whole file where it is known. Then a part that another program began is continued, too. */
  readonly sha256?: string | undefined;
  /** Size of the whole file where it is known. */
  readonly bytes?: number | undefined;
  /** Makes the error of an answer. Default: `httpFault`. */
  readonly fault?: (url: string, response: Response) => WinnowError;
}

const ATTEMPTS = 4;

/** Whether a status may change at a later attempt. */
export const isTransient = (status: number): boolean => status === 408 || status === 429 || status >= 500;

const EXPECTED: Readonly<Record<number, string>> = {
  401: 'a public repository that exists (or a token that may read it in HF_TOKEN)',
  403: 'access to the repository (accept its terms, or a token that may read it in HF_TOKEN)',
  404: 'a file that exists',
};

export function httpFault(url: string, status: number): WinnowError {
  return new WinnowError('invalid_input', {
    where: url,
    expected: EXPECTED[status] ?? 'an answer of 200',
    got: `HTTP ${status}`,
  });
}

/** A partly downloaded file. */
interface Part {
  readonly path: string;
  readonly tagPath: string;
  readonly size: number;
  readonly tag: string | undefined;
}

async function readPart(target: string, options: DownloadOptions): Promise<Part> {
  const path = options.part ?? `${target}.part`;
  const tagPath = `${path}.etag`;
  const [facts, tag] = await Promise.all([
    stat(path).catch(() => undefined),
    readFile(tagPath, 'utf8').catch(() => undefined),
  ]);
  const isKnown = tag !== undefined || options.sha256 !== undefined;
  return { path, tagPath, size: isKnown ? (facts?.size ?? 0) : 0, tag };
}

/** What a body holds of a file. */
interface Arriving {
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Where in the file it begins. */
  readonly from: number;
  /** Size of the whole file, if the answer states it. */
  readonly total: number | undefined;
}

/** Writes a body chunk by chunk. A broken connection loses no received bytes: `body` gives them before its error. */
async function writeBody(
  { body, from, total }: Arriving,
  url: string,
  part: Part,
  options: DownloadOptions & Idle,
): Promise<number> {
  const handle = await open(part.path, from > 0 ? 'a' : 'w').catch((error: unknown) => {
    throw failureOf(error, part.path);
  });
  const progress = options.startProgress(fileName(url), total ?? 0, from);
  let done = from;
  try {
    for await (const chunk of body) {
      options.alive();
      done += chunk.byteLength;
      if (done > options.maxBytes) throw tooLarge(url, options.maxBytes);
      await handle.writeFile(chunk);
      progress.update(done);
    }
    await handle.sync();
  } catch (error) {
    throw failureOf(error, part.path);
  } finally {
    progress.stop();
    await handle.close();
  }
  return done;
}

/** Codes of a disk that takes no more, or nothing. */
const DISK_CODES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'ENOTDIR', 'EEXIST', 'EISDIR']);

/** Makes the error of a folder that cannot be written; undefined for another error. */
export function diskFault(error: unknown, path: string, setting = 'HF_HUB_CACHE or HF_HOME'): WinnowError | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (!DISK_CODES.has(code)) return undefined;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  const expected = isFull
    ? `free space (make room, or set ${setting} to a folder of another disk; then run again to continue)`
    : `a folder that can be written (set ${setting} to one)`;
  const got = isFull ? `a full disk (${code})` : code;
  return new WinnowError('invalid_input', { where: path, expected, got }, { cause: error });
}

/** What went wrong while a body was written: the disk, or the connection, which is tried again. */
const failureOf = (error: unknown, path: string): Error =>
  error instanceof WinnowError
    ? error
    : (diskFault(error, path) ?? new RetriableError((error as Error).message, { cause: error }));

const fileName = (url: string) => decodeURIComponent(url.split('/').pop() ?? url);

const tooLarge = (url: string, limit: number) =>
  new WinnowError('invalid_input', { where: url, expected: `at most ${limit} bytes`, got: 'more' });

/** Returns the size of the whole file if the answer's headers have it. */
function totalSize(response: Response, from: number): number | undefined {
  const length = response.headers.get('content-length');
  return length === null || response.headers.has('content-encoding') ? undefined : from + Number(length);
}

interface Idle {
  /** Postpones the end of the attempt. */
  readonly alive: () => void;
}

async function receive(response: Response, url: string, part: Part, options: DownloadOptions & Idle): Promise<void> {
  const from = response.status === 206 ? part.size : 0;
  const total = totalSize(response, from);
  if (total !== undefined && total > options.maxBytes) throw tooLarge(url, options.maxBytes);
  const body = response.body ? readAhead(response.body) : [];
  const tag = response.headers.get('etag');
  if (tag === null) await rm(part.tagPath, { force: true });
  else await writeFile(part.tagPath, tag);
  const size = await writeBody({ body, from, total }, url, part, options);
  if (total !== undefined && size !== total) throw new RetriableError(`${total} bytes were announced, ${size} came`);
}

/** Makes one attempt. Returns the answer's headers; undefined for a file that does not exist. @throws RetriableError, WinnowError. */
async function attempt(url: string, target: string, options: DownloadOptions): Promise<Headers | undefined> {
  const part = await readPart(target, options);
  if (options.sha256 !== undefined && part.size > 0 && part.size === options.bytes) {
    // An earlier process ended between the last byte and the rename.
    await finish(part, target, options.sha256);
    return new Headers();
  }
  const condition = part.tag === undefined ? {} : { 'if-range': part.tag };
  const range = part.size > 0 ? { range: `bytes=${part.size}-`, ...condition } : {};
  const idle = new AbortController();
  const ms = options.idleMs ?? IDLE_MS;
  const timer = setTimeout(() => idle.abort(new RetriableError(`no byte in ${ms} ms`)), ms);
  try {
    const response = await request(url, { ...options.headers, ...range }, idle.signal, options);
    if (response.status !== 200 && response.status !== 206) return await refused(response, url, part, options);
    await receive(response, url, part, { ...options, alive: () => timer.refresh() });
    await finish(part, target, options.sha256);
    return response.headers;
  } finally {
    clearTimeout(timer);
    // Ends a transfer that was given up, as where the disk took no more.
    idle.abort();
  }
}

const IDLE_MS = 60_000;

async function request(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
  options: DownloadOptions,
): Promise<Response> {
  try {
    return await options.fetch(url, { headers, signal });
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw new RetriableError(String((error as Error).cause ?? error), { cause: error });
  }
}

/** @returns undefined for a file that does not exist. */
async function refused(response: Response, url: string, part: Part, options: DownloadOptions): Promise<undefined> {
  const { status } = response;
  await response.body?.cancel();
  if (status === 404 && !options.fault) return undefined;
  if (status === 416) await removePart(part);
  else if (!isTransient(status)) throw options.fault?.(url, response) ?? httpFault(url, status);
  throw new RetriableError(`HTTP ${status}`);
}

async function removePart({ path, tagPath }: Part): Promise<void> {
  await rm(path, { force: true });
  await rm(tagPath, { force: true });
}

/** Compares the hash and puts the file in place. A part with another hash is removed, and the next attempt begins anew. */
async function finish(part: Part, target: string, expected: string | undefined): Promise<void> {
  const got = expected === undefined ? undefined : await sha256File(part.path);
  if (got !== expected) {
    await removePart(part);
    throw new RetriableError(`sha256 ${expected} was announced, ${got} came`);
  }
  await rename(part.path, target);
  await rm(part.tagPath, { force: true });
}

/** @throws WinnowError `invalid_input` where it cannot be made. */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw diskFault(error, folder) ?? error;
  });
}

/**
 * Downloads one file to `target`. Bytes received before an interruption are kept in `target.part`; the next attempt continues there
 * (`Range` with the entity tag), in this call or a later one.
 * @returns The answer's headers; undefined for a file that does not exist (404).
 * @throws WinnowError `invalid_input` with the URL and the answer.
 */
export async function download(url: string, target: string, options: DownloadOptions): Promise<Headers | undefined> {
  await makeFolder(dirname(target));
  const firstPauseMs = options.retryMs ?? 500;
  try {
    return await retry(() => attempt(url, target, options), { attempts: ATTEMPTS, firstPauseMs });
  } catch (error) {
    if (!(error instanceof RetriableError)) throw error;
    const got = `${error.message} (${ATTEMPTS} tries; run again to continue)`;
    throw new WinnowError('invalid_input', { where: url, expected: 'the whole file', got }, { cause: error });
  }
}

/**
 * Whether a file exists, by a request for its first byte.
 * @throws WinnowError `invalid_input` with the URL and the answer, if that says neither.
 */
export async function isThere(url: string, options: DownloadOptions): Promise<boolean> {
  const ask = async (): Promise<boolean> => {
    const signal = AbortSignal.timeout(options.idleMs ?? IDLE_MS);
    const response = await request(url, { ...options.headers, range: 'bytes=0-0' }, signal, options);
    const { status } = response;
    await response.body?.cancel();
    // An empty file has no first byte.
    if (response.ok || status === 416) return true;
    if (status === 404) return false;
    if (isTransient(status)) throw new RetriableError(`HTTP ${status}`);
    throw options.fault?.(url, response) ?? httpFault(url, status);
  };
  try {
    return await retry(ask, { attempts: ATTEMPTS, firstPauseMs: options.retryMs ?? 500 });
  } catch (error) {
    if (!(error instanceof RetriableError)) throw error;
    const got = `${error.message} (${ATTEMPTS} tries)`;
    throw new WinnowError('invalid_input', { where: url, expected: 'an answer', got }, { cause: error });
  }
}
