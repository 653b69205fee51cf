import type { RequestHandler } from 'express';
import type { HttpDeps } from '../ports.ts';
import { PROBES } from '../probes.ts';
import type { Route } from './route.ts';

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
  const { readiness } = deps;
  const get = { method: 'get', access: 'public' } as const;
  const probes = [...PROBES].map(([path, probe]): Route => {
    const handler: RequestHandler = async (_req, res) => {
      const { ready, reason: notReadyReason } = await readiness.probe();
      const { live, reason: notLiveReason } = readiness.liveness?.() ?? { live: true };
      const { status, body } = probe({ live, notLiveReason, ready, notReadyReason });
      res.status(status);
      if (body) res.json(body);
      else res.end();
    };
    return { ...get, path, handler };
  });
  return [...probes, { ...get, path: '/metrics', on: 'admin', handler: metrics(deps) }];
}
