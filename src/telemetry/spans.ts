import type { Attributes } from '@opentelemetry/api';
import type { TraceContext } from './trace-context.ts';

export type { Attributes } from '@opentelemetry/api';

/** A span that others may be below. Times are milliseconds since the epoch (fractions allowed). */
export interface ParentSpan {
  /** Adds a finished stage as a child span, and returns it, for stages of its own. */
  stage(name: string, start: number, end: number, attributes?: Attributes): ParentSpan;
}

/** The span of one request. */
export interface RequestSpan extends ParentSpan {
  readonly context: TraceContext;
  /** `traceparent` header of the answer. */
  readonly traceparent: string;
  /** Sets the name, which is not known before the route is. */
  rename(name: string): void;
  end(attributes?: Attributes, error?: { readonly code: string; readonly status: number }): void;
}

export interface Tracing {
  startRequest(name: string, traceparent?: string, tracestate?: string): RequestSpan;
  /** Records work that no request asked for, as a trace of its own. */
  record(name: string, start: number, end: number, attributes?: Attributes): void;
  /** Exports the spans that are still buffered. */
  close(): Promise<void>;
}

export interface TracingOptions {
  /** Collector's URL (OTLP over HTTP), with or without `/v1/traces`; without it, trace ids are passed on and nothing is recorded. */
  readonly endpoint?: string | undefined;
  /** Share of traces without a parent that are recorded; a parent's decision is kept. */
  readonly ratio?: number;
  readonly serviceVersion?: string;
  /** OpenTelemetry's variables. The SDK reads those of headers, certificates and resource from the process itself. Default: the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Called once for each failed export. */
  readonly onExportError?: (error: Error) => void;
  /** Called for each variable that is wrong or has no effect. */
  readonly onNote?: (note: string) => void;
}
