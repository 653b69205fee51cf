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
import { detectResources, envDetector, type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TracePlan } from './otel-variables.ts';
import type { ParentSpan, RequestSpan, Tracing, TracingOptions } from './spans.ts';
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

function parentOf(tracer: Tracer, span: Span): ParentSpan {
  const inside = trace.setSpan(ROOT_CONTEXT, span);
  return {
    stage(name, start, end, attributes = {}) {
      const child = tracer.startSpan(name, { startTime: start, attributes }, inside);
      child.end(end);
      return parentOf(tracer, child);
    },
  };
}

function requestSpan(tracer: Tracer, span: Span, state: string | undefined): RequestSpan {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const context: TraceContext = {
    traceId,
    spanId,
    sampled: (traceFlags & TraceFlags.SAMPLED) !== 0,
    ...(state ? { state } : {}),
  };
  return {
    ...parentOf(tracer, span),
    context,
    traceparent: formatTraceparent(context),
    rename: (name) => void span.updateName(name),
    end(attributes = {}, error) {
      span.setAttributes(attributes);
      // A client error does not make a server span fail (OpenTelemetry semantic conventions for HTTP).
      if (error && error.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
      if (error) span.setAttribute('error.type', error.code);
      span.end();
    },
  };
}

/** Returns what sends spans: a name of its own for the service, and over it what OpenTelemetry's variables say. */
function resourceOf(serviceVersion: string | undefined): Resource {
  return resourceFromAttributes({
    'service.name': 'winnow',
    ...(serviceVersion ? { 'service.version': serviceVersion } : {}),
  }).merge(detectResources({ detectors: [envDetector] }));
}

/** Returns tracing that records sampled requests and sends them to `url` (OTLP/HTTP, JSON) in batches. Nothing is registered globally. */
export function createExportingTracing(
  options: TracingOptions & Pick<TracePlan, 'sampling' | 'batch'> & { readonly url: string },
): Tracing {
  const { sampling, batch } = options;
  const exporter = new OTLPTraceExporter({ url: options.url });
  const chosen = new TraceIdRatioBasedSampler(sampling.ratio);
  const provider = new TracerProvider({
    resource: resourceOf(options.serviceVersion),
    sampler: sampling.parentBased ? new ParentBasedSampler({ root: chosen }) : chosen,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reportFailures(exporter, options.onExportError ?? (() => {})),
        scheduledDelayMillis: 2000,
        ...batch,
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
    record(name, start, end, attributes = {}) {
      tracer.startSpan(name, { startTime: start, attributes }, ROOT_CONTEXT).end(end);
    },
    // `onExportError` has reported a last export that failed; closing must not fail because of it.
    close: () => provider.shutdown().catch(() => {}),
  };
}
