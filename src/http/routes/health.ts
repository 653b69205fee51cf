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

function metrics(deps: HttpDeps): RequestHandler {
  return async function renderMetrics(_req, res) {
    const { contentType, text } = await deps.telemetry.metrics();
    res.set('content-type', contentType).send(text);
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
