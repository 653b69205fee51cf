import type { Request, Response } from 'express';
import type { ErrorCode } from '../errors.ts';
import type { RequestSpan } from '../telemetry/tracing.ts';
import type { ByteHold } from './byte-account.ts';
import type { ErrorForm } from './dialects/errors.ts';
import type { Caller } from './keys.ts';
import type { RequestEvent } from './ports.ts';

/** What a scoring request adds to its log line and metrics. */
type ScoringFacts = Partial<
  Pick<
    RequestEvent,
    'lane' | 'model' | 'version' | 'experiment' | 'passages' | 'tokens' | 'truncated' | 'queryTruncated' | 'timings'
  >
>;

/** The state of one request, filled in by the middleware and the handler. */
export interface Exchange {
  readonly requestId: string;
  /** `performance.now()` at arrival. */
  readonly started: number;
  /** Milliseconds since the epoch at arrival. */
  readonly startedAt: number;
  /** The client's address; that of a trusted proxy's `X-Forwarded-For` where there is one. */
  readonly address: string;
  readonly span: RequestSpan;
  /** Aborts when the client disconnects before it has its answer. */
  readonly signal: AbortSignal;
  /** What the request holds of the account of bytes in flight. */
  readonly bytes: ByteHold;
  route: string;
  caller?: Caller;
  /** Name of the dialect: that of the path until the body is read. */
  dialect?: string;
  /** Form of this request's errors. */
  errors?: ErrorForm;
  code?: ErrorCode;
  facts?: ScoringFacts;
  /** What follows the JSON of the body: the bytes of its tensors. */
  tensorBytes?: Buffer | undefined;
}

const KEY = 'exchange';

/** Attaches the exchange to the response. */
export function openExchange(res: Response, exchange: Exchange): void {
  res.locals[KEY] = exchange;
}

/** Returns the exchange that the first middleware opened. */
export function exchangeOf(res: Response): Exchange {
  return res.locals[KEY] as Exchange;
}

/** Returns a header's only or first value. */
export function header(req: Request, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Whether a header's value has bytes outside ASCII. Node gives each byte as the character of that number. */
const hasHighBytes = (value: string): boolean => /[\x80-\xff]/.test(value);

/** Decodes a value as UTF-8; one that is not UTF-8 stays Latin-1, as Node gives it. */
function decode(value: string): string {
  if (!hasHighBytes(value)) return value;
  try {
    return UTF8.decode(Buffer.from(value, 'latin1'));
  } catch {
    return value;
  }
}

/**
 * Returns a header's only or first value as text: its bytes are UTF-8, or Latin-1 where they are not valid UTF-8. Everything else stays to the
 * byte, percent-encoding included. An id therefore equals the same id in a JSON body. The text may hold characters that a response header
 * cannot.
 */
export function textHeader(req: Request, name: string): string | undefined {
  const value = header(req, name);
  return value === undefined ? undefined : decode(value);
}

/** Returns all headers with a single value, decoded like `textHeader`, by lower-case name. */
export function textHeaders(req: Request): Readonly<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(req.headers)) if (typeof value === 'string') texts[name] = decode(value);
  return texts;
}
