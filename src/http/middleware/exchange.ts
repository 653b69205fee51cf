import { randomUUID } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import { passThrough } from '../../telemetry/tracing.ts';
import { exchangeOf, header, openExchange } from '../exchange.ts';
import { plainAddress } from '../peer.ts';
import type { HttpDeps, HttpTelemetry, RequestEvent } from '../ports.ts';

/** Request ids that a client may choose: short, printable, safe in log lines and headers. */
const REQUEST_ID = /^[\w.:/+=@-]{1,128}$/;

/** Statuses whose log lines have the client's address. */
const REFUSALS = new Set([401, 403, 429]);

/** Routes that are polled every few seconds; their successes are not logged, and they are not traced. */
const POLLED = /^\/($|ping\/?$|metrics\/?$|health|\.well-known|v2\/health)/i;

function eventOf(req: { method: string }, res: Response): RequestEvent {
  const { requestId, route, started, dialect, caller, code, facts, span } = exchangeOf(res);
  return {
    requestId,
    method: req.method,
    route,
    status: res.writableFinished ? res.statusCode : 499,
    durationMs: performance.now() - started,
    ...(code ? { code } : {}),
    ...(span.context.sampled ? { traceId: span.context.traceId } : {}),
    ...(caller ? { caller: caller.name } : {}),
    ...(dialect ? { dialect } : {}),
    ...facts,
  };
}

/** Winnow's attribute names, and OpenTelemetry's for feature flags. */
const experimentAttributes = ({ name, arm }: NonNullable<RequestEvent['experiment']>) => ({
  'winnow.experiment': name,
  'winnow.arm': arm,
  'feature_flag.key': name,
  'feature_flag.result.variant': arm,
  'feature_flag.provider.name': 'winnow',
});

function report(telemetry: HttpTelemetry, req: { method: string }, res: Response): void {
  const event = eventOf(req, res);
  const { span } = exchangeOf(res);
  telemetry.onRequest(event);
  const { timings: _timings, durationMs, ...line } = event;
  // Without a route the name has the method alone, so that clients cannot choose names.
  span.rename(event.route === 'unmatched' ? event.method : `${event.method} ${event.route}`);
  span.end(
    {
      'http.request.method': event.method,
      'http.route': event.route,
      'http.response.status_code': event.status,
      ...(event.model ? { 'winnow.model': event.model, 'winnow.version': event.version ?? '' } : {}),
      ...(event.dialect ? { 'winnow.dialect': event.dialect } : {}),
      ...(event.passages === undefined ? {} : { 'winnow.passages': event.passages }),
      ...(event.experiment ? experimentAttributes(event.experiment) : {}),
    },
    event.code ? { code: event.code, status: event.status } : undefined,
  );
  if (event.status < 400 && POLLED.test(event.route)) return;
  const refused = REFUSALS.has(event.status) ? { address: exchangeOf(res).address } : {};
  telemetry.logger.info(
    { ...line, ...refused, durationMs: Math.round(durationMs * 10) / 10, traceId: span.context.traceId },
    'request',
  );
}

/** A whole answer may take this many times the limit without progress. */
const TOTAL_LIMITS = 10;

/**
 * Closes the connection of a client that does not read its answer: after `limitMs` without a byte sent, and after ten times `limitMs` in any
 * case. For an answer queued behind others of its connection, time counts from its own turn.
 */
function limitWriting(res: Response, limitMs: number): void {
  res.once('prefinish', () => {
    const { socket } = res;
    if (!socket || res.writableFinished) return;
    // Node destroys the socket if no bytes were sent in this time; after the answer it restores the limit of idle connections.
    socket.setTimeout(limitMs);
    const total = setTimeout(() => socket.destroy(), TOTAL_LIMITS * limitMs);
    total.unref();
    res.once('close', () => clearTimeout(total));
  });
}

/**
 * Opens the exchange: reads request id and trace context, writes both to the answer, aborts a signal when the client disconnects, and at the
 * end reports one log line and one event. Neither contains text of a query or a passage.
 */
export function exchange({ telemetry, readiness, bytes: account, options }: HttpDeps): RequestHandler {
  const { writeTimeoutMs } = options;
  return function openExchangeForRequest(req, res, next) {
    const wanted = header(req, 'x-request-id');
    const requestId = wanted && REQUEST_ID.test(wanted) ? wanted : randomUUID();
    const tracing = POLLED.test(req.path) ? passThrough : telemetry.tracing;
    const span = tracing.startRequest(req.method, header(req, 'traceparent'), header(req, 'tracestate'));
    const gone = new AbortController();
    const started = performance.now();
    const bytes = account.open();
    openExchange(res, {
      requestId,
      started,
      startedAt: Date.now(),
      address: plainAddress(req.ip ?? ''),
      span,
      signal: gone.signal,
      bytes,
      route: 'unmatched',
    });
    limitWriting(res, writeTimeoutMs);
    res.set('x-request-id', requestId);
    res.set('traceparent', span.traceparent);
    if (span.context.state) res.set('tracestate', span.context.state);
    if (readiness.draining()) res.set('connection', 'close');
    res.once('close', () => {
      bytes.close();
      if (!res.writableFinished) {
        exchangeOf(res).code ??= 'client_closed';
        gone.abort();
      }
      report(telemetry, req, res);
    });
    next();
  };
}
