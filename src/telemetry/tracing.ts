import type { Tracing, TracingOptions } from './spans.ts';
import { childContext, formatTraceparent, parseTraceparent } from './trace-context.ts';

export type * from './spans.ts';

/** Passes the caller's trace on without recording anything. */
export const passThrough: Tracing = {
  startRequest(_name, traceparent, tracestate) {
    const context = childContext(parseTraceparent(traceparent, tracestate));
    return { context, traceparent: formatTraceparent(context), stage: () => {}, end: () => {} };
  },
  close: async () => {},
};

/** Returns the URL of a collector's traces: adds OTLP's default path if the endpoint has none. */
export function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint);
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

/** Creates tracing, with export if an endpoint is given. The exporter's packages are loaded only then. */
export async function createTracing(options: TracingOptions = {}): Promise<Tracing> {
  if (!options.endpoint) return passThrough;
  const { createExportingTracing } = await import('./otlp.ts');
  return createExportingTracing({ ...options, url: tracesUrl(options.endpoint) });
}
