import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Request, RequestHandler, Response } from 'express';
import { describe, WinnowError } from '../../errors.ts';
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

/**
 * What a route reads: a JSON body, one that may be absent, one that may be absent and that Triton's clients send, or JSON that the bytes of
 * tensors may follow.
 */
export type BodyKind = 'json' | 'optional-json' | 'repository' | 'tensors';

const isOptional = (kind: BodyKind): boolean => kind === 'optional-json' || kind === 'repository';

/** `application/json`, or another type written as JSON. */
const JSON_TYPE = /^\s*(?:application\/json|[\w.-]+\/[\w.+-]+\+json)\s*(?:;|$)/i;
/** What Triton's clients call JSON. Pages cannot make a browser send it to other sites. */
const BYTES_TYPE = /^\s*application\/octet-stream\s*(?:;|$)/i;
/** The type that curl and `fetch` send by default. Pages can make a browser send it. */
const DEFAULT_TYPE = /^\s*(?:application\/x-www-form-urlencoded|text\/plain)\s*(?:;|$)/i;

/** Whether a kind of body may have a type that is not JSON's; servers of Triton's protocol read no types. */
function isOtherwiseTyped(req: Request, type: string | undefined, kind: BodyKind): boolean {
  if (kind === 'json') return false;
  // Triton's clients send no type, or that of bytes. A page can make a browser send none too.
  if (type === undefined) return !isFromBrowser(req);
  if (kind === 'optional-json') return false;
  return BYTES_TYPE.test(type) || (kind === 'tensors' && DEFAULT_TYPE.test(type) && !isFromBrowser(req));
}

function checkType(req: Request, kind: BodyKind): void {
  const type = header(req, 'content-type');
  if (type === undefined && isOtherwiseTyped(req, type, kind)) return;
  const charset = /;\s*charset="?([^";]+)"?/i
    .exec(type ?? '')?.[1]
    ?.trim()
    .toLowerCase();
  const known = charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
  if (!known || !(JSON_TYPE.test(type ?? '') || isOtherwiseTyped(req, type, kind)))
    throw new WinnowError('unsupported_media_type', { got: type ?? 'none' });
}

/** Header with the length of the JSON in front of the bytes of tensors. */
const JSON_LENGTH = 'inference-header-content-length';

/** Returns how many bytes of the body, unpacked, are JSON; undefined: all. @throws WinnowError `invalid_field`. */
function jsonLengthOf(req: Request, kind: BodyKind): number | undefined {
  const text = kind === 'tensors' ? header(req, JSON_LENGTH)?.trim() : undefined;
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text) && Number(text) > 0) return Number(text);
  throw new WinnowError('invalid_field', {
    expected: 'the length of the JSON in bytes, at least 1',
    got: describe(text),
    field: `header ${JSON_LENGTH}`,
  });
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
  /** The bytes that are JSON; those of tensors follow. */
  readonly jsonBytes: number;
  readonly outline: JsonOutline;
}

const shortBody = (jsonBytes: number, size: number): WinnowError =>
  new WinnowError('invalid_field', {
    expected: `a body with ${jsonBytes} bytes of JSON`,
    got: `${size} bytes`,
    field: `header ${JSON_LENGTH}`,
  });

/**
 * Collects a stream. Each chunk is counted against the limit and the account of bytes in flight, and its JSON scanned, before the next one is
 * read.
 * @param jsonLength bytes that are JSON; undefined: all.
 * @throws WinnowError `invalid_field` for fewer bytes than that, `body_too_large`, `too_many_bytes`, `body_too_complex`, `request_timeout`, `client_closed`, `malformed_json`.
 */
function collect(
  req: Request,
  stream: Readable,
  hold: ByteHold,
  limits: BodyLimits,
  jsonLength: number | undefined,
): Promise<Collected> {
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
        scanner.push(chunk.subarray(0, Math.max(0, (jsonLength ?? size) - size + chunk.length)));
        chunks.push(chunk);
      } catch (error) {
        fail(error);
      }
    });
    stream.once('end', () => {
      clearTimeout(timer);
      try {
        const jsonBytes = jsonLength ?? size;
        if (jsonBytes > size) throw shortBody(jsonBytes, size);
        resolve({ chunks: chunks.splice(0), size, jsonBytes, outline: scanner.end() });
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

async function readBody(req: Request, res: Response, limits: BodyLimits, kind: BodyKind): Promise<Collected> {
  const announced = Number(header(req, 'content-length') ?? 0);
  let stream: Readable = req;
  try {
    if (announced > limits.limitBytes)
      throw new WinnowError('body_too_large', { limit: limits.limitBytes, got: announced });
    const jsonLength = jsonLengthOf(req, kind);
    stream = decoded(req);
    return await collect(req, stream, exchangeOf(res).bytes, limits, jsonLength);
  } catch (error) {
    if (error instanceof WinnowError && error.code === 'request_timeout') res.set('connection', 'close');
    else await discard(req, res, stream, limits.discards);
    throw error;
  }
}

/** Bodies up to this length, in bytes, are checked for being blank. */
const BLANK_BYTES = 1024;

/** Parses the JSON of a body; a blank one is `undefined` if that is allowed. */
async function parse(json: Buffer, outline: JsonOutline, optional: boolean): Promise<unknown> {
  if (!(await isUtf8InTurns(json))) throw new WinnowError('malformed_json', { reason: 'it is not UTF-8' });
  if (
    json.length <= BLANK_BYTES &&
    json
      .toString('utf8')
      .replace(/^\uFEFF/, '')
      .trim() === ''
  ) {
    if (optional) return undefined;
    throw new WinnowError('malformed_json', { reason: 'it is empty' });
  }
  return parseInTurns(json, outline);
}

/**
 * Reads a JSON body into `req.body`; the bytes of tensors that follow it go to the exchange. A request without a body passes with `undefined`
 * where the body is optional.
 * @throws WinnowError `unsupported_media_type`, `body_too_large`, `request_timeout`, `client_closed`, `malformed_json`,
 * `body_too_complex`, `too_many_bytes`, `invalid_field` for a wrong length of the JSON.
 */
export function jsonBody(limits: BodyLimits, kind: BodyKind = 'json'): RequestHandler {
  const optional = isOptional(kind);
  return async function readJson(req, res, next) {
    if (!hasBody(req)) {
      // Forms without fields have a type and no body.
      if (optional && req.method === 'POST' && header(req, 'content-type') !== undefined) checkType(req, kind);
      if (!optional) throw new WinnowError('malformed_json', { reason: 'it is empty' });
      req.body = undefined;
      return next();
    }
    try {
      checkType(req, kind);
    } catch (error) {
      await discard(req, res, req, limits.discards);
      throw error;
    }
    const { chunks, size, jsonBytes, outline } = await readBody(req, res, limits, kind);
    const bytes = await joinInTurns(chunks, size);
    if (jsonBytes < size) exchangeOf(res).tensorBytes = bytes.subarray(jsonBytes);
    req.body = await parse(bytes.subarray(0, jsonBytes), outline, optional);
    next();
  };
}
