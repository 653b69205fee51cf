import type { RequestHandler } from 'express';
import { header } from '../exchange.ts';

const METHODS = 'GET, POST, PUT, DELETE';
const REQUEST_HEADERS =
  'authorization, content-type, x-api-key, x-request-id, traceparent, tracestate, x-user-id, x-session-id, x-winnow-unit, x-winnow-arm, x-winnow-lane, x-winnow-deadline-ms, inference-header-content-length';
/** Names of headers, separated by commas (RFC 9110, section 5.6.2). */
const NAMES = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/;
const ANSWER_HEADERS =
  'x-request-id, traceparent, retry-after, inference-header-content-length, x-winnow-model, x-winnow-experiment, x-winnow-arm, x-winnow-priority, x-winnow-truncated, x-winnow-query-truncated, x-winnow-ignored, x-winnow-repaired, x-winnow-teams, x-winnow-below-min-score, x-total-time, x-tokenization-time, x-queue-time, x-inference-time';
/** How long a browser may cache a preflight, in seconds. */
const MAX_AGE = '600';

/** Returns the headers a page may send: those it asks for, since SDKs add names of their own and none of them gives rights. */
function allowedHeaders(asked: string | undefined): string {
  return asked !== undefined && asked.length <= 4096 && NAMES.test(asked) ? asked : REQUEST_HEADERS;
}

/** Allows browsers to call from the listed origins (`*`: any). Without a list no header is sent, and browsers allow their own origin only. */
export function cors(origins: readonly string[]): RequestHandler {
  const any = origins.includes('*');
  return function allowOrigin(req, res, next) {
    const origin = header(req, 'origin');
    if (origins.length === 0 || !origin) return next();
    res.vary('origin');
    if (!any && !origins.includes(origin)) return next();
    res.set('access-control-allow-origin', any ? '*' : origin);
    res.set('access-control-expose-headers', ANSWER_HEADERS);
    // Helmet forbids other origins to read answers; the listed ones may.
    res.set('cross-origin-resource-policy', 'cross-origin');
    if (req.method !== 'OPTIONS' || !header(req, 'access-control-request-method')) return next();
    res.set('access-control-allow-methods', METHODS);
    res.vary('access-control-request-headers');
    res.set('access-control-allow-headers', allowedHeaders(header(req, 'access-control-request-headers')));
    res.set('access-control-max-age', MAX_AGE);
    res.status(204).end();
  };
}
