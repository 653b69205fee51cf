import { describe, WinnowError } from '../../errors.ts';
import { isObject } from '../../util/json-files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { RetriableError, retry, retryAfterMs } from '../../util/retry.ts';
import { isTransient } from '../download.ts';
import { excerpt, isName, isSafePath } from '../model-names.ts';
import { fileUrl, type HubReference, type HubSettings } from './hub-settings.ts';

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly bytes: number | undefined;
  /** Of files in large-file storage. */
  readonly sha256: string | undefined;
  /** Name of the content in the hub's repository; undefined where the listing has none. */
  readonly oid: string | undefined;
}

/** What a repository has at a revision. */
export interface HubListing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

interface RequestOptions {
  /** Returns a redirect to another server as it is: the hub says with it what it knows of the file. */
  readonly isOwnOnly?: boolean;
  readonly method?: 'GET' | 'HEAD';
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

const REDIRECTS = 8;
const isRedirect = (status: number) => [301, 302, 303, 307, 308].includes(status);

/** Sizes and ranges are those of the file, not of a compressed form. */
const PLAIN = { 'accept-encoding': 'identity' };

/** Headers that the hub gives with a redirect to where the bytes are, and the storage does not repeat. */
const KEPT = ['x-linked-etag', 'x-linked-size', 'x-repo-commit', 'x-error-code', 'x-error-message'];

/**
 * Requests a URL of the hub and follows redirects. The token is sent to the server of `endpoint` alone: from a redirect elsewhere on there is
 * none. The answer has the headers of the hub about a file in addition to those of the storage.
 */
export async function hubFetch(
  { endpoint, token }: Pick<HubSettings, 'endpoint' | 'token'>,
  url: string,
  { method = 'GET', headers = {}, signal, isOwnOnly = false }: RequestOptions = {},
): Promise<Response> {
  const kept = new Map<string, string>();
  let at = url;
  let isOurs = true;
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    isOurs &&= new URL(at).origin === new URL(endpoint).origin;
    const own = token !== undefined && isOurs ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(at, {
      method,
      redirect: 'manual',
      headers: { ...PLAIN, ...headers, ...own },
      ...(signal && { signal }),
    });
    for (const name of KEPT) {
      const value = response.headers.get(name);
      if (value !== null && !kept.has(name)) kept.set(name, value);
    }
    const to = response.headers.get('location');
    if (!isRedirect(response.status) || to === null) return withHeaders(response, kept);
    const next = nextUrl(to, at);
    if (isOwnOnly && new URL(next).origin !== new URL(at).origin) return withHeaders(response, kept);
    await response.body?.cancel();
    at = next;
  }
  throw new WinnowError('invalid_input', { where: url, expected: `at most ${REDIRECTS} redirects`, got: 'more' });
}

function nextUrl(to: string, from: string): string {
  const next = URL.canParse(to, from) ? new URL(to, from) : undefined;
  const isSafe = next && (next.protocol === 'https:' || next.protocol === new URL(from).protocol);
  if (!isSafe)
    throw new WinnowError('invalid_input', { where: from, expected: 'a redirect to https', got: excerpt(to) });
  return next.href;
}

function withHeaders(response: Response, kept: ReadonlyMap<string, string>): Response {
  if ([204, 205, 304].includes(response.status)) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of kept) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}

/** What an answer of the hub means, and what to do about it. */
export function hubFault(
  { id, revision }: HubReference,
  { endpoint, token }: Pick<HubSettings, 'endpoint' | 'token'>,
  url: string,
  response: Pick<Response, 'status' | 'headers'>,
): WinnowError {
  const { status } = response;
  const code = response.headers.get('x-error-code') ?? '';
  const page = `${endpoint}/${id}`;
  const cure =
    token === undefined
      ? 'set HF_TOKEN, or run `hf auth login`'
      : 'HF_TOKEN, or the token of `hf auth login`, may not read it';
  const fault = (expected: string, got = `HTTP ${status}`) =>
    new WinnowError('invalid_input', { where: url, expected, got });
  if (code === 'RevisionNotFound')
    return fault(`a branch, tag or commit of ${id}`, `revision ${excerpt(revision)}, which it does not have`);
  if (code === 'RepoNotFound' && status === 404)
    return fault(`a repository that exists (check the name; if it is private, ${cure})`);
  if (code === 'GatedRepo' || status === 403)
    return fault(
      `access to the repository (accept its terms at ${page}, and use a token that may read it in HF_TOKEN: ${cure})`,
    );
  if (status === 401)
    return fault(`a public repository that exists (or a token that may read it in HF_TOKEN: ${cure})`);
  if (status === 404) return fault('a file that exists');
  return fault('an answer of 200');
}

/** Most bytes of a listing, and the longest wait for it. */
const LISTING = { bytes: 32 * 2 ** 20, ms: 30_000 };
const ATTEMPTS = 4;

async function readListing(response: Response, url: string): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > LISTING.bytes)
      throw new WinnowError('invalid_input', { where: url, expected: `at most ${LISTING.bytes} bytes`, got: 'more' });
    chunks.push(chunk);
  }
  try {
    return parseJson(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new WinnowError('invalid_input', { where: url, expected: 'JSON, as the hub answers', got: 'other text' });
  }
}

/** An answer of the hub's API; undefined for a server without it. */
async function ask(reference: HubReference, hub: HubSettings, url: string, retryMs: number): Promise<unknown> {
  const attempt = async () => {
    const signal = AbortSignal.timeout(LISTING.ms);
    const response = await hubFetch(hub, url, { signal }).catch((error: unknown) => {
      if (error instanceof WinnowError) throw error;
      throw new RetriableError(reasonOf(error), { cause: error });
    });
    if (response.status === 200) return await readListing(response, url);
    await response.body?.cancel();
    const afterMs = retryAfterMs(response.headers.get('retry-after'), Date.now());
    if (isTransient(response.status)) throw new RetriableError(`HTTP ${response.status}`, { afterMs });
    // The hub says which of its things is missing; a plain mirror does not.
    if (response.status === 404 && !response.headers.has('x-error-code')) return undefined;
    throw hubFault(reference, hub, url, response);
  };
  return retry(attempt, { attempts: ATTEMPTS, firstPauseMs: retryMs, longestPauseMs: 10_000 });
}

/** Returns the innermost reason of a failed request: undici hides it in `cause`. */
export function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? String(error instanceof Error ? error.message : error) : reasonOf(cause);
}

/**
 * Asks the hub which commit a revision is and which files it has.
 * @returns undefined for a server that has no such API.
 * @throws WinnowError `invalid_input` with what to do for repositories that are private, gated or missing; RetriableError where the server
 * cannot be reached.
 */
export async function listRepository(
  reference: HubReference,
  hub: HubSettings,
  retryMs = 500,
): Promise<HubListing | undefined> {
  const url = `${hub.endpoint}/api/models/${reference.id}/revision/${encodeURIComponent(reference.revision)}?blobs=true`;
  const answer = await ask(reference, hub, url, retryMs);
  const { sha, siblings } = isObject(answer) ? answer : {};
  const commit = answer === undefined ? await commitOf(reference, hub) : sha;
  if (commit === undefined && answer === undefined) return undefined;
  if (typeof commit !== 'string' || !isName(commit))
    throw new WinnowError('invalid_input', { where: url, expected: 'the commit as sha', got: describe(commit) });
  const entries = Array.isArray(siblings) ? siblings : await readTree(reference, hub, commit, retryMs);
  if (!entries) return undefined;
  const files = entries.map(fileOf).filter((file) => file !== undefined);
  return { commit, files: new Map(files.map((file) => [file.path, file])) };
}

/** Returns the commit that the server states with a file; undefined where it states none. */
async function commitOf(reference: HubReference, hub: HubSettings): Promise<string | undefined> {
  const url = fileUrl(reference, hub.endpoint, 'config.json');
  const signal = AbortSignal.timeout(LISTING.ms);
  const response = await hubFetch(hub, url, { method: 'HEAD', isOwnOnly: true, signal }).catch(() => undefined);
  await response?.body?.cancel();
  return response?.headers.get('x-repo-commit') ?? undefined;
}

/** Lists files by the other route, which some servers have alone; undefined for a server without it. */
async function readTree(
  reference: HubReference,
  hub: HubSettings,
  commit: string,
  retryMs: number,
): Promise<readonly unknown[] | undefined> {
  const url = `${hub.endpoint}/api/models/${reference.id}/tree/${commit}?recursive=true`;
  const entries = await ask(reference, hub, url, retryMs);
  if (entries === undefined || Array.isArray(entries)) return entries;
  throw new WinnowError('invalid_input', { where: url, expected: 'a list of files', got: describe(entries) });
}

const sizeOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;

export const SHA256 = /^[0-9a-f]{64}$/;

/** Reads an entry of either listing; undefined for folders, and for names that could leave a folder. */
function fileOf(entry: unknown): HubFile | undefined {
  const { rfilename, path = rfilename, type = 'file', size, blobId, oid = blobId, lfs } = isObject(entry) ? entry : {};
  if (type !== 'file' || typeof path !== 'string' || !isSafePath(path)) return undefined;
  const large = isObject(lfs) ? lfs : {};
  const sha256 = [large.sha256, large.oid].find((hash) => typeof hash === 'string' && SHA256.test(hash));
  return {
    path,
    bytes: sizeOf(large.size) ?? sizeOf(size),
    sha256: typeof sha256 === 'string' ? sha256 : undefined,
    oid: typeof oid === 'string' && isName(oid) ? oid : undefined,
  };
}
