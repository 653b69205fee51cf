import { afterEach, describe, expect, it } from 'vitest';
import { createMetrics, METRICS, type Metrics } from '../../src/telemetry/metrics.ts';

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
      Number(/delay_seconds\{quantile="1"\} (\S+)/.exec((await metrics.render()).text)?.[1] ?? Number.NaN);
    const tick = () => new Promise((done) => setTimeout(done, 30));
    await tick();
    const begin = performance.now();
    while (performance.now() - begin < 150);
    await tick();
    expect(await worst()).toBeGreaterThan(0.1);
  });
});
