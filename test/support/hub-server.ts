import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, relative } from 'node:path';

/*
 * A local stand-in for the Hugging Face hub: its list of files, its addresses of files with the headers of large-file storage, and redirects
 * of large files to a storage on another port. Routes and headers as huggingface.co answers them.
 */

interface SeenRequest {
  readonly host: 'hub' | 'storage';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
}

export interface HubServer {
  readonly url: string;
  readonly requests: SeenRequest[];
  readonly commit: string;
  /** Repositories that need this token: `private` hides them, `gated` names them. */
  readonly guarded: Map<string, { readonly kind: 'private' | 'gated'; readonly token: string }>;
  /** Says what to do instead of answering a request for a file; undefined answers. */
  intercept: (
    path: string,
  ) => { readonly status: number } | { readonly dropAfter: number } | { readonly corrupt: true } | undefined;
  close(): Promise<void>;
}

interface ServerOptions {
  /** Whether the list of files has sizes and hashes, which some mirrors leave out. */
  readonly hasSizes?: boolean;
  /** Whether HEAD is answered. */
  readonly hasHead?: boolean;
  /** The route that lists files. */
  readonly lists?: 'revision' | 'tree' | 'none';
}

/** Files in large-file storage. */
const LARGE = /\.(safetensors|bin|onnx|onnx_data)$/;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const gitOid = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

/** Lists the files of a folder, relative. */
const filesOf = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));

function describeFile(folder: string, path: string) {
  const bytes = readFileSync(join(folder, path));
  const lfs = LARGE.test(path) ? { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {};
  return { rfilename: path, size: bytes.length, blobId: gitOid(bytes), ...lfs };
}

const listen = async (server: Server): Promise<string> => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const close = (server: Server): Promise<void> =>
  new Promise((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });

/**
 * Serves the folders below `root` as `acme/<folder>`, at branch `main`, tag `v1` and the commit.
 */
export async function openHubServer(
  root: string,
  { hasSizes = true, hasHead = true, lists = 'revision' }: ServerOptions = {},
): Promise<HubServer> {
  const commit = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00';
  const requests: SeenRequest[] = [];
  const see = (host: SeenRequest['host'], request: IncomingMessage): string => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname);
    const { range, authorization } = request.headers;
    requests.push({ host, method: request.method ?? '', path, range, token: authorization?.replace('Bearer ', '') });
    return path;
  };
  const refuse = (response: ServerResponse, status: number, code?: string) =>
    response.writeHead(status, code === undefined ? {} : { 'x-error-code': code }).end();

  const guard = (name: string, request: IncomingMessage, response: ServerResponse, isFile: boolean): boolean => {
    const rule = server.guarded.get(name);
    const token = request.headers.authorization?.replace('Bearer ', '');
    if (!rule || token === rule.token) return false;
    if (rule.kind === 'gated') {
      if (!isFile) return false;
      refuse(response, token === undefined ? 401 : 403, 'GatedRepo');
    } else refuse(response, token === undefined ? 401 : 404, 'RepoNotFound');
    return true;
  };

  const send = (request: IncomingMessage, response: ServerResponse, bytes: Buffer, path: string) => {
    const instead = server.intercept(path);
    if (instead && 'status' in instead) return refuse(response, instead.status);
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (start > 0 && start >= bytes.length) return refuse(response, 416);
    const part = Buffer.from(bytes.subarray(start));
    if (instead && 'corrupt' in instead && part.length > 0) part[part.length - 1]! ^= 1;
    response.writeHead(start > 0 ? 206 : 200, {
      etag: `"storage-${bytes.length}"`,
      'content-length': part.length,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (request.method === 'HEAD') return response.end();
    if (instead && 'dropAfter' in instead)
      return response.write(part.subarray(0, instead.dropAfter), () => response.socket?.end());
    return response.end(part);
  };

  const storage = createServer((request, response) => {
    const path = see('storage', request);
    const [, , name = '', ...rest] = path.split('/');
    return send(request, response, readFileSync(join(root, name, ...rest)), path);
  });

  const answerFile = (request: IncomingMessage, response: ServerResponse, name: string, file: string) => {
    const path = join(root, name, file);
    if (!existsSync(path) || !statSync(path).isFile()) return refuse(response, 404, 'EntryNotFound');
    const bytes = readFileSync(path);
    const common = { 'x-repo-commit': commit, etag: `"${gitOid(bytes)}"` };
    for (const [header, value] of Object.entries(common)) response.setHeader(header, value);
    if (!LARGE.test(file)) {
      if (request.method !== 'HEAD') return send(request, response, bytes, `/acme/${name}/${file}`);
      return response.writeHead(200, { 'content-length': bytes.length }).end();
    }
    response.setHeader('x-linked-etag', `"${sha256(bytes)}"`);
    response.setHeader('x-linked-size', bytes.length);
    return response.writeHead(302, { location: `${storageUrl}/storage/${name}/${file}` }).end();
  };

  const hub = createServer((request, response) => {
    const path = see('hub', request);
    const [, apiName, list, apiRevision] = /^\/api\/models\/acme\/([^/]+)\/(revision|tree)\/(.+)$/.exec(path) ?? [];
    if (request.method === 'HEAD' && !hasHead) return refuse(response, 405);
    if (list !== undefined && list !== lists) return refuse(response, 404);
    const [, fileName, fileRevision, file] = /^\/acme\/([^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? [];
    const name = apiName ?? fileName;
    if (name === undefined || !existsSync(join(root, name))) return refuse(response, 401, 'RepoNotFound');
    if (guard(name, request, response, fileName !== undefined)) return;
    if (!['main', 'v1', commit].includes(apiRevision ?? fileRevision ?? ''))
      return refuse(response, 404, 'RevisionNotFound');
    if (file !== undefined) return answerFile(request, response, name, file);
    const siblings = filesOf(join(root, name)).map((entry) =>
      hasSizes ? describeFile(join(root, name), entry) : { rfilename: entry },
    );
    const tree = siblings.map(({ rfilename, ...entry }) => ({ type: 'file', path: rfilename, ...entry }));
    const answer = list === 'tree' ? tree : { sha: commit, siblings };
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });

  const [url, storageUrl] = await Promise.all([listen(hub), listen(storage)]);
  const server: HubServer = {
    url,
    requests,
    commit,
    guarded: new Map(),
    intercept: () => undefined,
    close: async () => {
      await Promise.all([close(hub), close(storage)]);
    },
  };
  return server;
}
