import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import { Discards } from './discards.ts';
import { exchangeOf } from './exchange.ts';
import { type Access, requireScope } from './middleware/auth.ts';
import { jsonBody } from './middleware/body.ts';
import { cors } from './middleware/cors.ts';
import { answerErrors, refuseOtherMethods, refuseUnknownRoute } from './middleware/errors.ts';
import { exchange } from './middleware/exchange.ts';
import { plainPath } from './middleware/path.ts';
import { limitRate } from './middleware/rate-limit.ts';
import { refuseCrossSite } from './middleware/same-site.ts';
import { MinuteBudget } from './minute-budget.ts';
import { ModelStatistics } from './model-statistics.ts';
import type { Extension, HttpDeps } from './ports.ts';
import { docsRoutes } from './routes/docs.ts';
import { experimentRoutes } from './routes/experiments.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes } from './routes/info.ts';
import { modelRoutes } from './routes/models.ts';
import { repositoryRoutes } from './routes/repository.ts';
import type { Route } from './routes/route.ts';
import { scoringRoutes } from './routes/scoring.ts';
import { tritonRoutes } from './routes/triton.ts';

/** Returns every route of the service itself, without extensions. */
export function routesOf(deps: HttpDeps): readonly Route[] {
  const statistics = new ModelStatistics();
  return [
    ...scoringRoutes(deps, statistics),
    ...tritonRoutes(deps, statistics),
    ...modelRoutes(deps),
    ...repositoryRoutes(deps),
    ...experimentRoutes(deps),
    ...infoRoutes(deps),
    ...healthRoutes(deps),
    ...docsRoutes(),
  ];
}

function nameRoute(path: string): RequestHandler {
  return function noteRoute(_req, res, next) {
    exchangeOf(res).route = path;
    next();
  };
}

/** The checks that all routes share. */
interface Gate {
  readonly site: RequestHandler;
  readonly access: Access;
  readonly rate: RequestHandler;
  readonly discards: Discards;
}

function gateOf({ keys, options }: HttpDeps): Gate {
  const { corsOrigins, hosts = [], requestsPerMinute } = options;
  return {
    site: refuseCrossSite(corsOrigins, hosts),
    access: { keys, failures: new MinuteBudget(requestsPerMinute) },
    rate: limitRate(requestsPerMinute),
    discards: new Discards(),
  };
}

/** The checks of site, key, rate and body in front of a route or an extension. */
function checks(deps: HttpDeps, gate: Gate, access: Route['access'], body: Route['body']): RequestHandler[] {
  const { bodyLimitBytes, bodyTimeoutMs } = deps.options;
  const bodyLimits = { limitBytes: bodyLimitBytes, timeoutMs: bodyTimeoutMs, discards: gate.discards };
  return [
    ...(access === 'public' ? [] : [gate.site, requireScope(gate.access, access), gate.rate]),
    ...(body ? [jsonBody(bodyLimits, body)] : []),
  ];
}

function mountRoutes(app: Express, routes: readonly Route[], deps: HttpDeps, gate: Gate): void {
  for (const { method, path, access, body, prepare, handler } of routes)
    app[method](path, nameRoute(path), ...(prepare ? [prepare] : []), ...checks(deps, gate, access, body), handler);
  for (const path of new Set(routes.map((route) => route.path))) {
    const methods = routes.filter((route) => route.path === path).map((route) => route.method);
    app.all(path, nameRoute(path), refuseOtherMethods(methods));
  }
}

function mountExtension(app: Express, extension: Extension, deps: HttpDeps, gate: Gate): void {
  const { path, access, router, json = true } = extension;
  app.use(path, nameRoute(path), ...checks(deps, gate, access, json ? 'optional-json' : undefined), router);
}

/**
 * Creates the service as an Express app. The app does not listen: pass it to `createServer` (src/http/server.ts) or to a test. Nothing is
 * global: two apps in one process share no state.
 */
export function createApp(deps: HttpDeps): Express {
  const app = express();
  app.disable('x-powered-by');
  // An ETag would hash every answer, and answers to POST are not cached.
  app.set('etag', false);
  app.set('query parser', 'simple');
  app.set('trust proxy', deps.options.trustedProxies ?? 0);
  app.use(plainPath(deps.options.basePath ?? ''));
  app.use(exchange(deps));
  app.use(helmet());
  app.use(cors(deps.options.corsOrigins));
  const gate = gateOf(deps);
  for (const extension of deps.extensions ?? []) mountExtension(app, extension, deps, gate);
  mountRoutes(app, routesOf(deps), deps, gate);
  app.use(refuseUnknownRoute);
  app.use(answerErrors(deps.telemetry));
  return app;
}
