import type { Tracing, TracingOptions } from './spans.ts';
import { childContext, formatTraceparent, parseTraceparent } from './trace-context.ts';

export type * from './spans.ts';

/** Hands the caller's trace on without recording anything. */
export const passThrough: Tracing = {
  startRequest(_name, traceparent, tracestate) {
    const context = childContext(parseTraceparent(traceparent, tracestate));
    return { context, traceparent: formatTraceparent(context), stage: () => {}, end: () => {} };
  },
  close: async () => {},
};

/** Where a collector takes traces: OTLP's default path is added where only its address is given. */
export function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint);
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

/** Tracing with export if an endpoint is given. The exporter's packages are loaded only then. */
export async function createTracing(options: TracingOptions = {}): Promise<Tracing> {
  if (!options.endpoint) return passThrough;
  const { createExportingTracing } = await import('./otlp.ts');
  return createExportingTracing({ ...options, url: tracesUrl(options.endpoint) });
}
