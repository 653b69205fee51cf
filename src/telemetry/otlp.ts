import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { RequestSpan, Tracing, TracingOptions } from './spans.ts';
import { formatTraceparent, parseTraceparent, type TraceContext } from './trace-context.ts';

/** OTLP's code of a successful export. */
const SUCCESS = 0;

/** Reports failed exports to `onError`; the SDK would only write them to its global diagnostics. */
function reportFailures(exporter: SpanExporter, onError: (error: Error) => void): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code !== SUCCESS) onError(result.error ?? new Error('the collector refused the spans'));
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush ? { forceFlush: () => exporter.forceFlush!() } : {}),
  };
}

function remoteParent(parent: TraceContext | undefined): Context {
  if (!parent) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId: parent.traceId,
    spanId: parent.spanId,
    traceFlags: parent.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
  });
}

function requestSpan(tracer: Tracer, span: Span, state: string | undefined): RequestSpan {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const context: TraceContext = {
    traceId,
    spanId,
    sampled: (traceFlags & TraceFlags.SAMPLED) !== 0,
    ...(state ? { state } : {}),
  };
  const inside = trace.setSpan(ROOT_CONTEXT, span);
  return {
    context,
    traceparent: formatTraceparent(context),
    stage(name, start, end, attributes = {}) {
      tracer.startSpan(name, { startTime: start, attributes }, inside).end(end);
    },
    end(attributes = {}, error) {
      span.setAttributes(attributes);
      // A client error does not make a server span fail (OpenTelemetry semantic conventions for HTTP).
      if (error && error.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
      if (error) span.setAttribute('error.type', error.code);
      span.end();
    },
  };
}

/** Returns tracing that records sampled requests and sends them to `url` (OTLP/HTTP, JSON) in batches. Nothing is registered globally. */
export function createExportingTracing(options: TracingOptions & { readonly url: string }): Tracing {
  const exporter = new OTLPTraceExporter({ url: options.url });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'winnow',
      ...(options.serviceVersion ? { 'service.version': options.serviceVersion } : {}),
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.ratio ?? 1) }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reportFailures(exporter, options.onExportError ?? (() => {})),
        scheduledDelayMillis: 2000,
      }),
    ],
  });
  const tracer = provider.getTracer('winnow');
  return {
    startRequest(name, traceparent, tracestate) {
      const parent = parseTraceparent(traceparent, tracestate);
      return requestSpan(
        tracer,
        tracer.startSpan(name, { kind: SpanKind.SERVER }, remoteParent(parent)),
        parent?.state,
      );
    },
    // `onExportError` has reported a last export that failed; closing must not fail because of it.
    close: () => provider.shutdown().catch(() => {}),
  };
}
