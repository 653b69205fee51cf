import type { Attributes } from '@opentelemetry/api';
import type { TraceContext } from './trace-context.ts';

export type { Attributes } from '@opentelemetry/api';

/** The span of one request. Times are milliseconds since the epoch (fractions allowed). */
export interface RequestSpan {
  readonly context: TraceContext;
  /** `traceparent` header of the answer. */
  readonly traceparent: string;
  /** Adds a finished stage as a child span. */
  stage(name: string, start: number, end: number, attributes?: Attributes): void;
  end(attributes?: Attributes, error?: { readonly code: string; readonly status: number }): void;
}

export interface Tracing {
  startRequest(name: string, traceparent?: string, tracestate?: string): RequestSpan;
  /** Exports the spans that are still buffered. */
  close(): Promise<void>;
}

export interface TracingOptions {
  /** Collector's URL (OTLP over HTTP), with or without `/v1/traces`; without it, trace ids are passed on and nothing is recorded. */
  readonly endpoint?: string | undefined;
  /** Share of traces without a parent that are recorded; a parent's decision is kept. */
  readonly ratio?: number;
  readonly serviceVersion?: string;
  /** Called once for each failed export. */
  readonly onExportError?: (error: Error) => void;
}
