import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Request, RequestHandler, Response } from 'express';
import { WinnowError } from '../../errors.ts';
import type { ByteHold } from '../byte-account.ts';
import type { Discards } from '../discards.ts';
import { exchangeOf, header } from '../exchange.ts';
import { isUtf8InTurns, joinInTurns } from '../json/join-in-turns.ts';
import { parseInTurns } from '../json/parse-in-turns.ts';
import { type JsonOutline, JsonScanner } from '../json/scanner.ts';
import { isFromBrowser } from './same-site.ts';

interface BodyLimits {
  /** Bytes, after decompression too. */
  readonly limitBytes: number;
  readonly timeoutMs: number;
  readonly discards: Discards;
}

const DECODERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/** Whether the request announces a body (RFC 9112, section 6.3). */
function hasBody(req: Request): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
}

/** `application/json`, or another type written as JSON. */
const JSON_TYPE = /^\s*(?:application\/json|[\w.-]+\/[\w.+-]+\+json)\s*(?:;|$)/i;

function checkType(req: Request, optional: boolean): void {
  const type = header(req, 'content-type');
  // Triton's clients send the small bodies of repository requests without a type. A page can make a browser do so too.
  if (type === undefined && optional && !isFromBrowser(req)) return;
  const charset = /;\s*charset="?([^";]+)"?/i
    .exec(type ?? '')?.[1]
    ?.trim()
    .toLowerCase();
  const known = charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
  if (!JSON_TYPE.test(type ?? '') || !known) throw new WinnowError('unsupported_media_type', { got: type ?? 'none' });
}

/** The body's bytes as a stream, decompressed if the client compressed them. */
function decoded(req: Request): Readable {
  const encoding = header(req, 'content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity') return req;
  const decoder = DECODERS[encoding];
  if (!decoder)
    throw new WinnowError('unsupported_media_type', {
      got: `content-encoding ${encoding} (gzip, deflate, br are known)`,
    });
  return req.pipe(decoder());
}

/** A body as received: its bytes, which are joined once, and the outline of its JSON. */
interface Collected {
  readonly chunks: Buffer[];
  readonly size: number;
  readonly outline: JsonOutline;
}

/**
 * Collects a stream. Each chunk is counted against the limit and the account of bytes in flight, and scanned, before the next one is read.
 * @throws WinnowError `body_too_large`, `too_many_bytes`, `body_too_complex`, `request_timeout`, `client_closed`, `malformed_json`.
 */
function collect(req: Request, stream: Readable, hold: ByteHold, limits: BodyLimits): Promise<Collected> {
  const { limitBytes, timeoutMs } = limits;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const scanner = new JsonScanner();
    let size = 0;
    const fail = (error: unknown) => {
      clearTimeout(timer);
      stream.removeAllListeners('data');
      chunks.length = 0;
      hold.resize(0);
      reject(error);
    };
    const timer = setTimeout(() => fail(new WinnowError('request_timeout', { seconds: timeoutMs / 1000 })), timeoutMs);
    stream.on('data', (chunk: Buffer) => {
      try {
        size += chunk.length;
        if (size > limitBytes) throw new WinnowError('body_too_large', { limit: limitBytes, got: `at least ${size}` });
        hold.add(chunk.length);
        scanner.push(chunk);
        chunks.push(chunk);
      } catch (error) {
        fail(error);
      }
    });
    stream.once('end', () => {
      clearTimeout(timer);
      try {
        resolve({ chunks: chunks.splice(0), size, outline: scanner.end() });
      } catch (error) {
        fail(error);
      }
    });
    stream.once('error', (error) =>
      fail(new WinnowError('malformed_json', { reason: error.message }, { cause: error })),
    );
    req.once('close', () => {
      if (!req.complete) fail(new WinnowError('client_closed'));
    });
  });
}

/**
 * Discards the rest of a refused body and waits for its end, because many clients read no answer before they have sent everything. After
 * the time limit the client gets its answer and the connection closes.
 */
async function discard(req: Request, res: Response, stream: Readable, discards: Discards): Promise<void> {
  if (stream !== req) {
    req.unpipe();
    stream.destroy();
  }
  // A client that asked before sending (`Expect: 100-continue`) sends nothing now.
  if (req.complete || req.destroyed || req.headers.expect !== undefined) return;
  if (!(await discards.run(req))) res.set('connection', 'close');
}

async function readBody(req: Request, res: Response, limits: BodyLimits): Promise<Collected> {
  const announced = Number(header(req, 'content-length') ?? 0);
  let stream: Readable = req;
  try {
    if (announced > limits.limitBytes)
      throw new WinnowError('body_too_large', { limit: limits.limitBytes, got: announced });
    stream = decoded(req);
    return await collect(req, stream, exchangeOf(res).bytes, limits);
  } catch (error) {
    if (error instanceof WinnowError && error.code === 'request_timeout') res.set('connection', 'close');
    else await discard(req, res, stream, limits.discards);
    throw error;
  }
}

/** Bodies up to this length, in bytes, are checked for being blank. */
const BLANK_BYTES = 1024;

/** Parses a body; a blank one is `undefined` if that is allowed. */
async function parse({ chunks, size, outline }: Collected, optional: boolean): Promise<unknown> {
  const bytes = await joinInTurns(chunks, size);
  if (!(await isUtf8InTurns(bytes))) throw new WinnowError('malformed_json', { reason: 'it is not UTF-8' });
  if (
    bytes.length <= BLANK_BYTES &&
    bytes
      .toString('utf8')
      .replace(/^\uFEFF/, '')
      .trim() === ''
  ) {
    if (optional) return undefined;
    throw new WinnowError('malformed_json', { reason: 'it is empty' });
  }
  return parseInTurns(bytes, outline);
}

/**
 * Reads a JSON body into `req.body`. With `optional`, a request without a body passes with `undefined`.
 * @throws WinnowError `unsupported_media_type`, `body_too_large`, `request_timeout`, `client_closed`, `malformed_json`,
 * `body_too_complex`, `too_many_bytes`.
 */
export function jsonBody(limits: BodyLimits, optional = false): RequestHandler {
  return async function readJson(req, res, next) {
    if (!hasBody(req)) {
      // Forms without fields have a type and no body.
      if (optional && req.method === 'POST' && header(req, 'content-type') !== undefined) checkType(req, optional);
      if (!optional) throw new WinnowError('malformed_json', { reason: 'it is empty' });
      req.body = undefined;
      return next();
    }
    try {
      checkType(req, optional);
    } catch (error) {
      await discard(req, res, req, limits.discards);
      throw error;
    }
    req.body = await parse(await readBody(req, res, limits), optional);
    next();
  };
}
