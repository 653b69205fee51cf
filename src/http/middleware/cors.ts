import type { RequestHandler } from 'express';
import { header } from '../exchange.ts';
import { ANSWER_HEADERS, REQUEST_HEADERS, TENSOR_HEADERS } from '../openapi/headers.ts';

const METHODS = 'GET, POST, PUT, DELETE';
/** What a page may send where its preflight does not say what it wants to. */
const SENT = [
  ...['authorization', 'content-type', 'x-api-key', 'tracestate'],
  ...Object.keys({ ...REQUEST_HEADERS, ...TENSOR_HEADERS }),
].join(', ');
/** Names of headers, separated by commas (RFC 9110, section 5.6.2). */
const NAMES = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/;
/** What a page may read: every described header of answers, and those of errors. */
const EXPOSED = [
  ...['retry-after', 'ratelimit', 'ratelimit-policy', 'allow', 'www-authenticate', 'tracestate'],
  ...Object.keys({ ...ANSWER_HEADERS, ...TENSOR_HEADERS }),
].join(', ');
/** How long a browser may cache a preflight, in seconds. */
const MAX_AGE = '600';

/** Returns the headers a page may send: those it asks for, since SDKs add names of their own and none of them gives rights. */
function allowedHeaders(asked: string | undefined): string {
  return asked !== undefined && asked.length <= 4096 && NAMES.test(asked) ? asked : SENT;
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
    res.set('access-control-expose-headers', EXPOSED);
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
