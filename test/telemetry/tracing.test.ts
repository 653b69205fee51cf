import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { tracesUrl } from '../../src/telemetry/otel-variables.ts';
import { childContext, formatTraceparent, parseTraceparent } from '../../src/telemetry/trace-context.ts';
import { createTracing, passThrough } from '../../src/telemetry/tracing.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

describe('traceparent', () => {
  it("reads the recommendation's example", () => {
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`, 'rojo=1')).toEqual({
      traceId: TRACE,
      spanId: SPAN,
      sampled: false,
      state: 'rojo=1',
    });
  });

  it.each([
    ['nothing', undefined],
    ['an empty header', ''],
    ['upper case', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['version ff', `ff-${TRACE}-${SPAN}-01`],
    ['version 00 with more fields', `00-${TRACE}-${SPAN}-01-more`],
    ['a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ])('treats %s as absent', (_name, header) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });

  it('reads a later version by the fields it knows', () => {
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-09-what-ever`)).toMatchObject({ traceId: TRACE, sampled: true });
  });

  it('round-trips', () => {
    const hex = (digits: number) =>
      fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`)).filter((s) => !/^0+$/.test(s));
    fc.assert(
      fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
        expect(parseTraceparent(formatTraceparent({ traceId, spanId, sampled }))).toEqual({ traceId, spanId, sampled });
      }),
    );
  });

  it('keeps the trace and has a span id of its own', () => {
    const parent = parseTraceparent(`00-${TRACE}-${SPAN}-01`);
    const child = childContext(parent);
    expect(child).toMatchObject({ traceId: TRACE, sampled: true });
    expect(child.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(child.spanId).not.toBe(SPAN);
    expect(childContext(undefined).traceId).not.toBe(childContext(undefined).traceId);
  });
});

describe('tracing without a collector', () => {
  it('passes the trace on', async () => {
    const tracing = await createTracing();
    expect(tracing).toBe(passThrough);
    const span = tracing.startRequest('rerank', `00-${TRACE}-${SPAN}-01`, 'a=b');
    expect(span.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
    expect(span.context.state).toBe('a=b');
  });
});

interface Attribute {
  readonly key: string;
  readonly value: Record<string, unknown>;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: Attribute[];
  readonly status: { code?: number; message?: string };
}

describe('tracing to a collector', () => {
  const received: { path: string; spans: OtlpSpan[]; service: unknown; resource: Attribute[]; token: unknown }[] = [];
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString());
      for (const { resource, scopeSpans } of resourceSpans)
        received.push({
          path: request.url ?? '',
          spans: scopeSpans.flatMap((s: { spans: OtlpSpan[] }) => s.spans),
          resource: resource.attributes,
          token: request.headers['x-token'],
          service: resource.attributes.find((a: { key: string }) => a.key === 'service.name')?.value.stringValue,
        });
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  let endpoint = '';
  beforeAll(async () => {
    await once(collector.listen(0, '127.0.0.1'), 'listening');
    endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => collector.close(done)));

  it('sends a request with its stages below the caller', async () => {
    const tracing = await createTracing({ endpoint, serviceVersion: '1.2.3' });
    const span = tracing.startRequest('rerank', `00-${TRACE}-${SPAN}-01`);
    const start = Date.UTC(2026, 0, 2);
    span.stage('tokenize', start, start + 4);
    span.stage('infer', start + 4, start + 10, { 'winnow.batches': 2 });
    span.end({ 'winnow.model': 'm@1' });
    await tracing.close();
    const { path, spans, service } = received.at(-1)!;
    expect(path).toBe('/v1/traces');
    expect(service).toBe('winnow');
    const byName = Object.fromEntries(spans.map((s) => [s.name, s]));
    expect(byName.rerank).toMatchObject({ traceId: TRACE, parentSpanId: SPAN });
    expect(span.traceparent).toBe(`00-${TRACE}-${byName.rerank!.spanId}-01`);
    expect(byName.rerank!.attributes).toContainEqual({ key: 'winnow.model', value: { stringValue: 'm@1' } });
    expect(byName.infer).toMatchObject({ traceId: TRACE, parentSpanId: byName.rerank!.spanId });
    const took = BigInt(byName.infer!.endTimeUnixNano) - BigInt(byName.infer!.startTimeUnixNano);
    expect(took).toBe(6_000_000n);
  });

  afterEach(() => vi.unstubAllEnvs());

  it("sends the resource and the headers of OpenTelemetry's variables", async () => {
    vi.stubEnv('OTEL_SERVICE_NAME', 'search');
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment=test,service.name=other,k8s.pod.name=pod-1');
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'x-token=abc');
    const notes: string[] = [];
    const tracing = await createTracing({ endpoint, serviceVersion: '1.2.3', onNote: (note) => notes.push(note) });
    tracing.startRequest('a').end();
    await tracing.close();
    const { service, resource, token } = received.at(-1)!;
    expect([service, token, notes]).toEqual(['search', 'abc', []]);
    const attributes = Object.fromEntries(resource.map(({ key, value }) => [key, value.stringValue]));
    expect(attributes).toMatchObject({
      'deployment.environment': 'test',
      'k8s.pod.name': 'pod-1',
      'service.version': '1.2.3',
    });
  });

  it('samples as the variable says', async () => {
    vi.stubEnv('OTEL_TRACES_SAMPLER', 'always_off');
    const before = received.length;
    const off = await createTracing({ endpoint });
    off.startRequest('a', `00-${TRACE}-${SPAN}-01`).end();
    await off.close();
    expect(received).toHaveLength(before);
    vi.stubEnv('OTEL_TRACES_SAMPLER', 'parentbased_always_off');
    const kept = await createTracing({ endpoint });
    kept.startRequest('by the caller', `00-${TRACE}-${SPAN}-01`).end();
    kept.startRequest('b').end();
    await kept.close();
    expect(received.slice(before).flatMap(({ spans }) => spans.map(({ name }) => name))).toEqual(['by the caller']);
  });

  it('names a request late, nests stages, and records work without a request', async () => {
    const tracing = await createTracing({ endpoint });
    const span = tracing.startRequest('POST');
    span.stage('cascade stage', 1, 3, { 'winnow.stage': 0 }).stage('infer', 2, 3);
    span.rename('POST /rerank');
    span.end();
    tracing.record('model load', 1, 5, { 'winnow.model': 'm' });
    await tracing.close();
    const spans = Object.fromEntries(received.at(-1)!.spans.map((s) => [s.name, s]));
    expect(Object.keys(spans).toSorted()).toEqual(['POST /rerank', 'cascade stage', 'infer', 'model load']);
    expect(spans['cascade stage']!.parentSpanId).toBe(spans['POST /rerank']!.spanId);
    expect(spans.infer!.parentSpanId).toBe(spans['cascade stage']!.spanId);
    expect(spans['model load']!.parentSpanId ?? '').toBe('');
    expect(spans['model load']!.traceId).not.toBe(spans.infer!.traceId);
  });

  it('marks server errors as errors, and client errors not', async () => {
    const tracing = await createTracing({ endpoint: `${endpoint}/v1/traces` });
    tracing.startRequest('ours').end({}, { code: 'inference_failed', status: 500 });
    tracing.startRequest('theirs').end({}, { code: 'invalid_field', status: 422 });
    await tracing.close();
    const spans = Object.fromEntries(received.at(-1)!.spans.map((s) => [s.name, s]));
    expect(spans.ours!.status).toMatchObject({ code: 2, message: 'inference_failed' });
    expect(spans.theirs!.status.code ?? 0).toBe(0);
    expect(spans.theirs!.attributes).toContainEqual({ key: 'error.type', value: { stringValue: 'invalid_field' } });
  });

  it("keeps the caller's decision not to sample, and samples none of its own at ratio 0", async () => {
    const before = received.length;
    const tracing = await createTracing({ endpoint, ratio: 0 });
    const unsampled = tracing.startRequest('a', `00-${TRACE}-${SPAN}-00`);
    expect(unsampled.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
    unsampled.end();
    tracing.startRequest('b').end();
    await tracing.close();
    expect(received).toHaveLength(before);
  });

  it('reports an unavailable collector and goes on', async () => {
    const failures: Error[] = [];
    const refusing = createServer((_, response) => response.writeHead(400).end());
    await once(refusing.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}`;
    const tracing = await createTracing({ endpoint: url, onExportError: (error) => failures.push(error) });
    tracing.startRequest('a').end();
    await tracing.close();
    refusing.close();
    expect(failures).toHaveLength(1);
  });

  it('adds the default path to a bare address only', () => {
    expect(tracesUrl('http://c:4318')).toBe('http://c:4318/v1/traces');
    expect(tracesUrl('http://c:4318/')).toBe('http://c:4318/v1/traces');
    expect(tracesUrl('https://c/otlp/v1/traces')).toBe('https://c/otlp/v1/traces');
    expect(tracesUrl('https://c/otlp')).toBe('https://c/otlp/v1/traces');
  });
});
