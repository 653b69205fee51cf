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
import { passageRoutes } from './routes/passages.ts';
import { repositoryRoutes } from './routes/repository.ts';
import type { ListenerKind, Route } from './routes/route.ts';
import { scoringRoutes } from './routes/scoring.ts';
import { tritonRoutes } from './routes/triton.ts';

/** Routes that compute or record something for clients. */
const onMain = (routes: readonly Route[]): readonly Route[] => routes.map((route) => ({ ...route, on: 'main' }));

/** Whether a listener serves what belongs to another one (absent: to every one), or needs a scope. */
const serves = (listener: ListenerKind, { on, access }: Pick<Route, 'on' | 'access'>): boolean =>
  listener === 'all' || (on ?? (access === 'admin' ? 'admin' : listener)) === listener;

/** Returns every route of the service itself, without extensions. */
export function routesOf(deps: HttpDeps, statistics = new ModelStatistics()): readonly Route[] {
  // One for all routes that take texts.
  const budget = new MinuteBudget(deps.options.passagesPerMinute ?? 0);
  return [
    ...onMain(scoringRoutes(deps, statistics, budget)),
    ...passageRoutes(deps, budget),
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

function gateOf(deps: HttpDeps): Gate {
  const { corsOrigins, hosts = [], requestsPerMinute } = deps.options;
  return {
    site: refuseCrossSite(corsOrigins, hosts),
    access: { keys: () => deps.keys, failures: new MinuteBudget(requestsPerMinute) },
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

function createListenerApp(deps: HttpDeps, listener: ListenerKind, gate: Gate, statistics: ModelStatistics): Express {
  const { trustedProxies = 0, basePath = '', corsOrigins, hstsSeconds = 0 } = deps.options;
  const app = express();
  app.disable('x-powered-by');
  // An ETag would hash every answer, and answers to POST are not cached.
  app.set('etag', false);
  app.set('query parser', 'simple');
  app.set('trust proxy', trustedProxies);
  app.use(plainPath(basePath));
  app.use(exchange(deps));
  // Over plain HTTP, and for a domain that other services share, this header is not the service's to decide.
  app.use(helmet({ strictTransportSecurity: hstsSeconds > 0 ? { maxAge: hstsSeconds } : false }));
  app.use(cors(corsOrigins));
  if (listener !== 'main') for (const extension of deps.extensions ?? []) mountExtension(app, extension, deps, gate);
  const unknown = refuseUnknownRoute(listener);
  const routes = routesOf(deps, statistics);
  // First, because patterns of own routes may fit the same paths.
  for (const route of routes) if (!serves(listener, route)) app[route.method](route.path, unknown);
  mountRoutes(
    app,
    routes.filter((route) => serves(listener, route)),
    deps,
    gate,
  );
  app.use(unknown);
  app.use(answerErrors(deps.telemetry));
  return app;
}

/**
 * Creates the service as an Express app. The app does not listen: pass it to `createServer` (src/http/server.ts) or to a test. Nothing is
 * global: two apps in one process share no state.
 */
export const createApp = (deps: HttpDeps): Express =>
  createListenerApp(deps, 'all', gateOf(deps), new ModelStatistics());

/** Creates the apps of two listeners, which share limits and statistics: one for clients, one for operators. Both have the probes. */
export function createApps(deps: HttpDeps): { readonly main: Express; readonly admin: Express } {
  const gate = gateOf(deps);
  const statistics = new ModelStatistics();
  return {
    main: createListenerApp(deps, 'main', gate, statistics),
    admin: createListenerApp(deps, 'admin', gate, statistics),
  };
}
