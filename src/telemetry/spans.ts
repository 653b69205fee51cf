import type { Attributes } from '@opentelemetry/api';
import type { TraceContext } from './trace-context.ts';

export type { Attributes } from '@opentelemetry/api';

/** The span of one request. Times are milliseconds since the epoch (fractions allowed). */
export interface RequestSpan {
  readonly context: TraceContext;
  /** Header for the answer and for calls further down. */
  readonly traceparent: string;
  /** Adds a finished stage below the request. */
  stage(name: string, start: number, end: number, attributes?: Attributes): void;
  end(attributes?: Attributes, error?: { readonly code: string; readonly status: number }): void;
}

export interface Tracing {
  startRequest(name: string, traceparent?: string, tracestate?: string): RequestSpan;
  /** Sends what is still held. */
  close(): Promise<void>;
}

export interface TracingOptions {
  /** OTLP over HTTP, with or without the `/v1/traces` at its end; without it ids are only handed on. */
  readonly endpoint?: string | undefined;
  /** Share of traces begun here that are recorded; a caller's decision is kept. */
  readonly ratio?: number;
  readonly serviceVersion?: string;
  /** Told once for each failed export. */
  readonly onExportError?: (error: Error) => void;
}
