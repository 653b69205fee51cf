import type { Request, Response } from 'express';
import type { ErrorCode, WinnowError } from '../errors.ts';
import type { RequestSpan } from '../telemetry/tracing.ts';
import type { DialectName, ErrorBody } from './dialects/dialect.ts';
import type { Caller } from './keys.ts';
import type { RequestEvent } from './ports.ts';

/** What a scoring request adds to its log line and metrics. */
export type ScoringFacts = Partial<
  Pick<RequestEvent, 'lane' | 'model' | 'version' | 'experiment' | 'passages' | 'tokens' | 'truncated' | 'timings'>
>;

/** One request on its way through the middleware. Filled in as more becomes known. */
export interface Exchange {
  readonly requestId: string;
  /** `performance.now()` at arrival. */
  readonly started: number;
  /** Milliseconds since the epoch at arrival. */
  readonly startedAt: number;
  readonly span: RequestSpan;
  /** Aborts when the client goes away before it has its answer. */
  readonly signal: AbortSignal;
  route: string;
  caller?: Caller;
  dialect?: DialectName;
  /** How this request's client wants to read errors. */
  toError?: (error: WinnowError, requestId: string) => ErrorBody;
  code?: ErrorCode;
  facts?: ScoringFacts;
}

const KEY = 'exchange';

export function openExchange(res: Response, exchange: Exchange): void {
  res.locals[KEY] = exchange;
}

/** The exchange that the first middleware opened. */
export function exchangeOf(res: Response): Exchange {
  return res.locals[KEY] as Exchange;
}

/** A header's only or first value. */
export function header(req: Request, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
