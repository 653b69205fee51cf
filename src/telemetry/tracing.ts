import { planTraces } from './otel-variables.ts';
import type { ParentSpan, Tracing, TracingOptions } from './spans.ts';
import { childContext, formatTraceparent, parseTraceparent } from './trace-context.ts';

export type * from './spans.ts';

const IDLE: ParentSpan = { stage: () => IDLE };

/** Passes the caller's trace on without recording anything. */
export const passThrough: Tracing = {
  startRequest(_name, traceparent, tracestate) {
    const context = childContext(parseTraceparent(traceparent, tracestate));
    return { ...IDLE, context, traceparent: formatTraceparent(context), rename: () => {}, end: () => {} };
  },
  record: () => {},
  close: async () => {},
};

/** Creates tracing, with export if settings or variables name a collector. The exporter's packages are loaded only then. */
export async function createTracing(options: TracingOptions = {}): Promise<Tracing> {
  const plan = planTraces(options.env ?? process.env, options);
  for (const note of plan.notes) options.onNote?.(note);
  const { url } = plan;
  if (url === undefined) return passThrough;
  const { createExportingTracing } = await import('./otlp.ts');
  return createExportingTracing({ ...options, ...plan, url });
}
