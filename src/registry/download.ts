import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WinnowError } from '../errors.ts';
import type { Progress } from '../util/progress.ts';
import { RetriableError, retry } from '../util/retry.ts';

type Fetch = (url: string, init: { readonly headers: Record<string, string> }) => Promise<Response>;

export interface DownloadOptions {
  readonly fetch: Fetch;
  readonly headers: Readonly<Record<string, string>>;
  /** The largest size of the file, in bytes. */
  readonly maxBytes: number;
  readonly startProgress: (label: string, total: number) => Progress;
  /** Milliseconds before the second attempt; doubles each time. Default: 500. */
  readonly retryMs?: number;
}

const ATTEMPTS = 4;

/** Whether a status may change at a later attempt. */
const isTransient = (status: number) => status === 408 || status === 429 || status >= 500;

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

async function readPart(target: string): Promise<Part> {
  const path = `${target}.part`;
  const tagPath = `${path}.etag`;
  const [facts, tag] = await Promise.all([
    stat(path).catch(() => undefined),
    readFile(tagPath, 'utf8').catch(() => undefined),
  ]);
  return { path, tagPath, size: tag === undefined ? 0 : (facts?.size ?? 0), tag };
}

/** Writes a body chunk by chunk. Each chunk is written before the next is read, so that a broken connection loses no received bytes. */
async function writeBody(
  response: Response,
  url: string,
  part: Part,
  from: number,
  options: DownloadOptions,
): Promise<number> {
  const progress = options.startProgress(fileName(url), totalSize(response, from) ?? 0);
  const handle = await open(part.path, from > 0 ? 'a' : 'w');
  let done = from;
  try {
    for await (const chunk of response.body ?? []) {
      done += chunk.byteLength;
      if (done > options.maxBytes) throw tooLarge(url, options.maxBytes);
      await handle.writeFile(chunk);
      progress.update(done);
    }
    await handle.sync();
  } catch (error) {
    throw error instanceof WinnowError ? error : new RetriableError((error as Error).message, { cause: error });
  } finally {
    progress.stop();
    await handle.close();
  }
  return done;
}

const fileName = (url: string) => decodeURIComponent(url.split('/').pop() ?? url);

const tooLarge = (url: string, limit: number) =>
  new WinnowError('invalid_input', { where: url, expected: `at most ${limit} bytes`, got: 'more' });

/** Returns the size of the whole file if the answer's headers have it. */
function totalSize(response: Response, from: number): number | undefined {
  const length = response.headers.get('content-length');
  return length === null || response.headers.has('content-encoding') ? undefined : from + Number(length);
}

async function receive(response: Response, url: string, part: Part, options: DownloadOptions): Promise<void> {
  const from = response.status === 206 ? part.size : 0;
  const total = totalSize(response, from);
  if (total !== undefined && total > options.maxBytes) throw tooLarge(url, options.maxBytes);
  const tag = response.headers.get('etag');
  if (tag === null) await rm(part.tagPath, { force: true });
  else await writeFile(part.tagPath, tag);
  const size = await writeBody(response, url, part, from, options);
  if (total !== undefined && size !== total) throw new RetriableError(`${total} bytes were announced, ${size} came`);
}

/** Makes one attempt. Returns the answer's headers; undefined for a file that does not exist. @throws RetriableError, WinnowError. */
async function attempt(url: string, target: string, options: DownloadOptions): Promise<Headers | undefined> {
  const part = await readPart(target);
  const resume = part.size > 0 && part.tag !== undefined;
  const range = resume ? { range: `bytes=${part.size}-`, 'if-range': part.tag! } : {};
  let response: Response;
  try {
    response = await options.fetch(url, { headers: { ...options.headers, ...range } });
  } catch (error) {
    throw new RetriableError(String((error as Error).cause ?? error), { cause: error });
  }
  if (response.status === 200 || response.status === 206) {
    await receive(response, url, part, options);
    await rename(part.path, target);
    await rm(part.tagPath, { force: true });
    return response.headers;
  }
  await response.body?.cancel();
  if (response.status === 404) return undefined;
  if (response.status === 416) await rm(part.path, { force: true });
  else if (!isTransient(response.status)) throw httpFault(url, response.status);
  throw new RetriableError(`HTTP ${response.status}`);
}

/**
 * Downloads one file to `target`. Bytes received before an interruption are kept in `target.part`; the next attempt continues there
 * (`Range` with the entity tag), in this call or a later one.
 * @returns The answer's headers; undefined for a file that does not exist (404).
 * @throws WinnowError `invalid_input` with the URL and the answer.
 */
export async function download(url: string, target: string, options: DownloadOptions): Promise<Headers | undefined> {
  await mkdir(dirname(target), { recursive: true });
  const firstPauseMs = options.retryMs ?? 500;
  try {
    return await retry(() => attempt(url, target, options), { attempts: ATTEMPTS, firstPauseMs });
  } catch (error) {
    if (!(error instanceof RetriableError)) throw error;
    const got = `${error.message} (${ATTEMPTS} tries; run again to continue)`;
    throw new WinnowError('invalid_input', { where: url, expected: 'the whole file', got }, { cause: error });
  }
}
