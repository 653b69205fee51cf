import { describe, expect, it } from 'vitest';
import { planTraces } from '../../src/telemetry/otel-variables.ts';

const COLLECTOR = 'http://collector:4318';
const plan = (env: Record<string, string>, settings: Parameters<typeof planTraces>[1] = { endpoint: COLLECTOR }) =>
  planTraces(env, settings);

describe("OpenTelemetry's variables", () => {
  it('are not needed', () => {
    expect(plan({})).toEqual({
      url: 'http://collector:4318/v1/traces',
      sampling: { parentBased: true, ratio: 1 },
      batch: {},
      notes: [],
    });
    expect(plan({}, {}).url).toBeUndefined();
    expect(plan({ OTEL_TRACES_EXPORTER: 'otlp' }, {}).url).toBe('http://localhost:4318/v1/traces');
  });

  it.each([
    ['always_on', undefined, { parentBased: false, ratio: 1 }],
    ['always_off', undefined, { parentBased: false, ratio: 0 }],
    ['traceidratio', '0.25', { parentBased: false, ratio: 0.25 }],
    ['traceidratio', undefined, { parentBased: false, ratio: 1 }],
    ['parentbased_always_on', undefined, { parentBased: true, ratio: 1 }],
    ['parentbased_always_off', undefined, { parentBased: true, ratio: 0 }],
    ['parentbased_traceidratio', '0', { parentBased: true, ratio: 0 }],
  ])('choose the sampler %s %s', (name, argument, sampling) => {
    const env = { OTEL_TRACES_SAMPLER: name, ...(argument === undefined ? {} : { OTEL_TRACES_SAMPLER_ARG: argument }) };
    expect(plan(env)).toMatchObject({ sampling, notes: [] });
  });

  it('name the endpoint of traces as it is; the setting wins over it', () => {
    const traces = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://t:4318/own' };
    expect(plan(traces, {})).toMatchObject({ url: 'http://t:4318/own', notes: [] });
    const both = { ...traces, OTEL_EXPORTER_OTLP_ENDPOINT: COLLECTOR };
    expect(plan(both, { endpoint: COLLECTOR })).toMatchObject({ url: 'http://t:4318/own', notes: [] });
    const { url, notes } = plan(traces, { endpoint: 'http://mine:4318' });
    expect(url).toBe('http://mine:4318/v1/traces');
    expect(notes).toEqual(['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has no effect: telemetry.otlpEndpoint is set']);
  });

  it('switch everything off', () => {
    for (const env of [
      { OTEL_SDK_DISABLED: 'true' },
      { OTEL_SDK_DISABLED: 'TRUE' },
      { OTEL_TRACES_EXPORTER: 'none' },
    ]) {
      const { url, notes } = plan(env);
      expect(url).toBeUndefined();
      expect(notes.join()).toMatch(/^OTEL_\w+(=none)?: no traces are recorded$/);
    }
    expect(plan({ OTEL_SDK_DISABLED: 'false' }).url).toBeDefined();
  });

  it('set the limits of batches', () => {
    const env = { OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_BSP_MAX_QUEUE_SIZE: '10' };
    expect(plan(env)).toMatchObject({ batch: { scheduledDelayMillis: 100, maxQueueSize: 10 }, notes: [] });
  });

  it.each([
    ['OTEL_TRACES_SAMPLER', 'jaeger_remote', 'expected one of always_on'],
    ['OTEL_TRACES_SAMPLER_ARG', '2', 'expected a number from 0 to 1, got 2'],
    ['OTEL_TRACES_SAMPLER_ARG', '0.5', 'does not name a sampler that takes it'],
    ['OTEL_SDK_DISABLED', 'yes', 'expected true or false, got yes'],
    ['OTEL_TRACES_EXPORTER', 'zipkin', 'expected otlp or none, got zipkin'],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', 'expected http/json'],
    ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'soon', 'expected milliseconds above 0, got soon'],
    ['OTEL_EXPORTER_OTLP_COMPRESSION', 'zstd', 'expected gzip or none, got zstd'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'no pairs', 'expected key=value pairs'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'a=1,b=c=d', 'percent-encoded'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'a=%zz', 'percent-encoded'],
    ['OTEL_EXPORTER_OTLP_CERTIFICATE', '/no/such/file', 'expected a file, got /no/such/file'],
    ['OTEL_PROPAGATORS', 'b3', 'expected tracecontext, got b3'],
    ['OTEL_BSP_MAX_QUEUE_SIZE', '-1', 'expected a number above 0, got -1'],
    ['OTEL_METRICS_EXPORTER', 'otlp', 'Winnow exports traces only'],
    ['OTEL_SPAN_EVENT_COUNT_LIMIT', '5', 'reads no such variable'],
  ])('%s=%s is reported', (name, value, note) => {
    const { url, sampling, notes } = plan({ [name]: value });
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(name);
    expect(notes[0]).toContain(note);
    expect({ url, sampling }).toEqual({
      url: 'http://collector:4318/v1/traces',
      sampling: { parentBased: true, ratio: 1 },
    });
  });

  it('are reported where no collector is named, and never with the value of a header', () => {
    expect(plan({ OTEL_SERVICE_NAME: 'search' }, {}).notes).toEqual([
      'OTEL_SERVICE_NAME has no effect: no collector is named (telemetry.otlpEndpoint)',
    ]);
    expect(plan({ OTEL_EXPORTER_OTLP_HEADERS: 'secret-token' }).notes.join()).not.toContain('secret-token');
    expect(plan({ OTEL_TRACES_SAMPLER: 'always_on' }, { endpoint: COLLECTOR, ratio: 0.5 }).notes).toEqual([
      'telemetry.traceRatio has no effect: OTEL_TRACES_SAMPLER is set',
    ]);
  });

  it('that are empty count as unset', () => {
    expect(plan({ OTEL_SDK_DISABLED: '', OTEL_TRACES_SAMPLER: ' ', OTEL_NO_SUCH: '' }).notes).toEqual([]);
  });
});
