import type { RequestHandler } from 'express';
import type { HttpDeps, Readiness } from '../ports.ts';
import type { Route } from './route.ts';

/** Answers 200 while the service can answer requests, else 503 with the reason. */
function whenReady(readiness: Readiness): RequestHandler {
  return async function ready(_req, res) {
    const { ready, reason } = await readiness.probe();
    res
      .status(ready ? 200 : 503)
      .json(ready ? { status: 'ready' } : { status: 'not ready', reason: reason ?? 'starting' });
  };
}

const live: RequestHandler = (_req, res) => {
  res.json({ status: 'live' });
};

const noContent: RequestHandler = (_req, res) => {
  res.status(204).end();
};

const OPEN_METRICS = 'application/openmetrics-text';

/**
 * Whether a scraper prefers OpenMetrics 1.0.0 to Prometheus' text format. Names have no character that a scheme of `escaping` changes, so the
 * parameter decides nothing.
 */
export function prefersOpenMetrics(accept = ''): boolean {
  const weights = { open: 0, text: 0 };
  for (const part of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = part.split(';').map((one) => one.trim());
    const parameter = (name: string) =>
      parameters
        .find((one) => one.startsWith(`${name}=`))
        ?.slice(name.length + 1)
        .replaceAll('"', '');
    const weight = Number(parameter('q') ?? 1);
    const version = parameter('version');
    if (type === OPEN_METRICS && (version === undefined || version === '1.0.0'))
      weights.open = Math.max(weights.open, weight);
    else if (type === 'text/plain' || type === 'text/*') weights.text = Math.max(weights.text, weight);
  }
  return weights.open > 0 && weights.open >= weights.text;
}

function metrics(deps: HttpDeps): RequestHandler {
  return async function renderMetrics(req, res) {
    const format = prefersOpenMetrics(req.headers.accept) ? 'openmetrics' : 'text';
    const { contentType, text } = await deps.telemetry.metrics(format);
    res.set('content-type', contentType).vary('accept').send(text);
  };
}

/** Returns the routes of probes and metrics. None needs a key: kubelets, load balancers and Prometheus have none. */
export function healthRoutes(deps: HttpDeps): readonly Route[] {
  const ready = whenReady(deps.readiness);
  const rows: readonly (readonly [string, RequestHandler])[] = [
    ['/', ready],
    ['/health', ready],
    ['/ping', ready],
    ['/health/live', live],
    ['/health/ready', ready],
    ['/.well-known/live', noContent],
    ['/.well-known/ready', ready],
    ['/v2/health/live', (_req, res) => void res.json({ live: true })],
    [
      '/v2/health/ready',
      async (_req, res) => {
        const { ready: isReady } = await deps.readiness.probe();
        res.status(isReady ? 200 : 503).json({ ready: isReady });
      },
    ],
    ['/metrics', metrics(deps)],
  ];
  return rows.map(([path, handler]) => ({ method: 'get', path, access: 'public', handler }));
}
