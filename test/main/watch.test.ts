import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { watchPool, watchRegistry, watchScheduler } from '../../src/main/watch.ts';
import type { VersionStatus } from '../../src/registry/registry-types.ts';
import type { Lane } from '../../src/scheduling/scheduling-types.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/instruments.ts';

let metrics: Metrics;
beforeEach(() => {
  metrics = createMetrics({ processMetrics: false });
});
afterEach(() => metrics.close());

const sample = async (series: string): Promise<string | undefined> =>
  (await metrics.render()).text
    .split('\n')
    .find((line) => line.startsWith(`${series} `))
    ?.slice(series.length + 1);

describe('what is read at each scrape', () => {
  it('is how many versions are refused now; their counters exist before they are loaded', async () => {
    const version = (name: string, state: VersionStatus['state']): VersionStatus => ({
      name,
      version: '1',
      state,
      labels: [],
    });
    let versions = [version('a', 'ready'), version('b', 'refused')];
    watchRegistry(metrics, { list: () => versions });
    expect(await sample('winnow_refused_versions')).toBe('1');
    expect(await sample('winnow_model_loads_total{model="b",version="1"}')).toBe('0');
    expect(await sample('winnow_admissions_refused_total{model="a",version="1"}')).toBe('0');
    versions = [version('a', 'ready')];
    expect(await sample('winnow_refused_versions')).toBe('0');
  });

  it('is the predicted wait of each lane, in seconds', async () => {
    const waits: Record<Lane, number> = { interactive: 20, batch: 1500, shadow: 0 };
    watchScheduler(metrics, { predictedWaitMs: (_key, lane) => waits[lane] });
    expect(await sample('winnow_predicted_wait_seconds{lane="interactive"}')).toBe('0.02');
    expect(await sample('winnow_predicted_wait_seconds{lane="batch"}')).toBe('1.5');
  });

  it('is the processor time of each place for a host, which goes on over its processes', async () => {
    let cpuMs = 1500;
    const slots = () => [{ device: 0, alive: true, rss: 1, cpuMs }];
    watchPool(metrics, () => ({ provider: 'cpu', alive: 1, slots: slots() }));
    expect(await sample('winnow_host_cpu_seconds_total{host="0",device=""}')).toBe('1.5');
    cpuMs = 4000;
    await metrics.render();
    expect(await sample('winnow_host_cpu_seconds_total{host="0",device=""}')).toBe('4');
  });
});
