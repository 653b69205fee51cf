import type { ErrorRequestHandler, RequestHandler } from 'express';
import { WinnowError } from '../../errors.ts';
import { alternatives, SCORING_PATHS } from '../dialects/dispatch.ts';
import { stringErrors } from '../dialects/errors.ts';
import { exchangeOf } from '../exchange.ts';
import type { HttpTelemetry } from '../ports.ts';
import type { ListenerKind } from '../routes/route.ts';

/** Seconds until a retry makes sense, by status: for failures that end without a change of the request. */
const RETRY_AFTER: Readonly<Record<number, number>> = { 429: 1, 503: 1 };

/** Returns what was thrown as an error of the catalog. */
function asCatalogError(error: unknown, requestId: string): WinnowError {
  if (error instanceof WinnowError) return error;
  if (error instanceof URIError)
    return new WinnowError('invalid_field', { expected: 'a percent-encoded path', got: 'a broken one', field: 'path' });
  if (error instanceof Error && error.name === 'AbortError')
    return new WinnowError('client_closed', {}, { cause: error });
  return new WinnowError('internal', { requestId }, { cause: error });
}

function retryAfter(error: WinnowError): string | undefined {
  const seconds = Number(error.params.seconds ?? RETRY_AFTER[error.status]);
  return error.status in RETRY_AFTER && seconds > 0 ? String(Math.ceil(seconds)) : undefined;
}

/** Turns everything thrown into a response, in the error form of the request's dialect. */
export function answerErrors(telemetry: HttpTelemetry): ErrorRequestHandler {
  return function answerError(thrown: unknown, _req, res, next) {
    const exchange = exchangeOf(res);
    const error = asCatalogError(thrown, exchange.requestId);
    exchange.code = error.code;
    if (error.status >= 500)
      telemetry.logger.error({ requestId: exchange.requestId, code: error.code, err: error }, 'request failed');
    if (res.headersSent) {
      next(thrown);
      return;
    }
    const seconds = retryAfter(error);
    if (seconds) res.set('retry-after', seconds);
    if (error.status === 401) res.set('www-authenticate', 'Bearer');
    const form = exchange.errors ?? stringErrors;
    res.status(error.status).json(form.body(error, exchange.requestId));
  };
}

/** Where clients that look for another service's path find this one's. */
const SCORING = SCORING_PATHS.map(({ path }) => path).filter((path) => !path.includes('/v2/models/'));
const SCORED = `passages are scored by POST ${alternatives(SCORING)}`;
const KNOWN = {
  all: `${SCORED}; GET /docs lists all routes`,
  main: `${SCORED}; routes of operators are at server.adminPort`,
  admin: 'passages are scored at server.port; GET /docs lists all routes',
} as const satisfies Record<ListenerKind, string>;

/** Refuses a path that has no route at a listener. */
export function refuseUnknownRoute(listener: ListenerKind): RequestHandler {
  return function refuseUnknown(req) {
    throw new WinnowError('not_found', { method: req.method, path: req.path.slice(0, 200), known: KNOWN[listener] });
  };
}

/** Refuses every method on a path except those of its routes. */
export function refuseOtherMethods(methods: readonly string[]): RequestHandler {
  const allowed = methods.map((method) => method.toUpperCase()).join(', ');
  return function refuseMethod(req, res) {
    res.set('allow', allowed);
    throw new WinnowError('method_not_allowed', { allowed, method: req.method });
  };
}
