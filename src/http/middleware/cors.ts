import type { RequestHandler } from 'express';
import { header } from '../exchange.ts';

const METHODS = 'GET, POST, PUT, DELETE';
const REQUEST_HEADERS =
  'authorization, content-type, x-api-key, x-request-id, traceparent, tracestate, x-user-id, x-session-id, x-winnow-unit, x-winnow-arm, x-winnow-lane, x-winnow-deadline-ms';
const ANSWER_HEADERS =
  'x-request-id, traceparent, retry-after, x-winnow-model, x-winnow-experiment, x-winnow-arm, x-winnow-truncated, x-total-time, x-tokenization-time, x-queue-time, x-inference-time';
/** How long a browser may remember a preflight, in seconds. */
const MAX_AGE = '600';

/** Answers browsers from the listed origins (`*`: any); without a list no header is sent and browsers keep to their own origin. */
export function cors(origins: readonly string[]): RequestHandler {
  const any = origins.includes('*');
  return function allowOrigin(req, res, next) {
    const origin = header(req, 'origin');
    if (origins.length === 0 || !origin) return next();
    res.vary('origin');
    if (!any && !origins.includes(origin)) return next();
    res.set('access-control-allow-origin', any ? '*' : origin);
    res.set('access-control-expose-headers', ANSWER_HEADERS);
    // Helmet keeps other origins from reading answers; these may.
    res.set('cross-origin-resource-policy', 'cross-origin');
    if (req.method !== 'OPTIONS' || !header(req, 'access-control-request-method')) return next();
    res.set('access-control-allow-methods', METHODS);
    res.set('access-control-allow-headers', REQUEST_HEADERS);
    res.set('access-control-max-age', MAX_AGE);
    res.status(204).end();
  };
}
