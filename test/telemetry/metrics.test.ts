import { afterEach, describe, expect, it } from 'vitest';
import { createMetrics, type Metrics } from '../../src/telemetry/instruments.ts';
import { METRICS } from '../../src/telemetry/metrics.ts';

let open: Metrics[] = [];
const fresh = (): Metrics => {
  const metrics = createMetrics();
  open.push(metrics);
  return metrics;
};
afterEach(() => {
  for (const metrics of open) metrics.close();
  open = [];
});

describe('metrics', () => {
  it('follow the naming rules of Prometheus', () => {
    for (const { kind, name, help } of Object.values(METRICS)) {
      expect(name).toMatch(/^winnow_[a-z]+(_[a-z]+)*$/);
      expect(name.endsWith('_total'), name).toBe(kind === 'counter');
      if (kind === 'histogram') expect(name).toMatch(/_(seconds|rows|tokens|passages|ratio)$/);
      expect(help).toMatch(/\.$/);
    }
    expect(new Set(Object.values(METRICS).map((m) => m.name)).size).toBe(Object.keys(METRICS).length);
  });

  it('render in the exposition format with their labels', async () => {
    const metrics = fresh();
    metrics.requests.inc({ model: 'm', version: '3', dialect: 'cohere-v2', lane: 'interactive', status: '200' });
    metrics.batchRows.observe({ model: 'm', version: '3', provider: 'cpu' }, 9);
    const { contentType, text } = await metrics.render();
    expect(contentType).toContain('text/plain');
    expect(text).toContain(
      'winnow_requests_total{model="m",version="3",dialect="cohere-v2",lane="interactive",status="200"} 1',
    );
    expect(text).toContain('winnow_batch_rows_bucket{le="8",model="m",version="3",provider="cpu"} 0');
    expect(text).toContain('winnow_batch_rows_bucket{le="16",model="m",version="3",provider="cpu"} 1');
  });

  it('render as OpenMetrics with the trace of an observation, and as text without, also at the same time', async () => {
    const metrics = fresh();
    const trace_id = '4bf92f3577b34da6a3ce929d0e0e4736';
    const served = { model: 'm', version: '3' };
    metrics.inferSeconds.observe({ labels: served, value: 0.07, exemplarLabels: { trace_id } });
    metrics.errors.inc({ labels: { code: 'overloaded', dialect: 'tei' }, value: 1, exemplarLabels: { trace_id } });
    const [open, text, again] = await Promise.all([
      metrics.render('openmetrics'),
      metrics.render(),
      metrics.render('openmetrics'),
    ]);
    expect(open.contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(open.text).toContain(
      '# TYPE winnow_errors counter\nwinnow_errors_total{code="overloaded",dialect="tei"} 1 # {',
    );
    expect(open.text).toMatch(
      /winnow_infer_duration_seconds_bucket\{le="0.075",.*\} 1 # \{trace_id="4bf9\w+"\} 0.07 \d/,
    );
    expect(open.text.endsWith('# EOF\n')).toBe(true);
    expect(text.text).toContain(
      '# TYPE winnow_errors_total counter\nwinnow_errors_total{code="overloaded",dialect="tei"} 1\n',
    );
    expect(text.text).not.toContain(trace_id);
    expect(again.text).toContain('# TYPE winnow_requests counter');
  });

  it('have no gauge with a counter name, which Prometheus warns of', async () => {
    const { text } = await fresh().render();
    const gauges = [...text.matchAll(/^# TYPE (\S+) gauge$/gm)].map(([, name]) => name!);
    expect(gauges.filter((name) => name.endsWith('_total'))).toEqual([]);
    expect(gauges).toContain('nodejs_active_handles');
  });

  it('share nothing between two servers of one process', async () => {
    const [a, b] = [fresh(), fresh()];
    a.queueJobs.set(7);
    expect((await a.render()).text).toContain('\nwinnow_queue_jobs 7');
    expect((await b.render()).text).toContain('\nwinnow_queue_jobs 0');
  });

  it('compute the padding ratio from the counted tokens', async () => {
    const metrics = fresh();
    expect((await metrics.render()).text).toContain('\nwinnow_padding_ratio 0\n');
    metrics.tokens.inc({ model: 'm', version: '1' }, 700);
    metrics.tokens.inc({ model: 'n', version: '1' }, 200);
    metrics.paddingTokens.inc({ model: 'm', version: '1' }, 100);
    expect((await metrics.render()).text).toContain('\nwinnow_padding_ratio 0.1\n');
  });

  it('measure a blocked event loop, without the period of the timer', async () => {
    const metrics = fresh();
    const worst = async () =>
      Number(/delay_seconds\{percentile="100"\} (\S+)/.exec((await metrics.render()).text)?.[1] ?? Number.NaN);
    const tick = () => new Promise((done) => setTimeout(done, 30));
    await tick();
    const begin = performance.now();
    while (performance.now() - begin < 150);
    await tick();
    expect(await worst()).toBeGreaterThan(0.1);
  });
});
