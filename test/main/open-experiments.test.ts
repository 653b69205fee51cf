import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OpenFeature } from '@openfeature/server-sdk';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load-config.ts';
import { type Experiments, openExperiments } from '../../src/main/open-experiments.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/instruments.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { SPLIT } from '../experiments/lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-main-'));
let opened: Experiments | undefined;
let metrics: Metrics;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
  metrics.close();
});
afterAll(async () => {
  await OpenFeature.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(experiments: readonly object[], flags: readonly string[] = []): Promise<Experiments> {
  const file = join(folder, 'experiments.yaml');
  writeFileSync(file, stringify({ experiments }));
  metrics = createMetrics({ processMetrics: false });
  const named = ['--experiments', file, '--experiments-database', join(folder, 'experiments.sqlite'), ...flags];
  const { experiments: config } = loadConfig(named, {});
  opened = await openExperiments(config, { metrics, logger: createLogger('silent') }, () => 'up');
  await opened.start();
  return opened;
}

const request = (user: string): RerankRequest => ({
  requestId: `r-${user}`,
  query: 'q',
  passages: ['1'],
  truncate: true,
  lane: 'interactive',
  deadlineMs: 1000,
  subject: { user },
});
const TRIAL = { name: 'trial', ...SPLIT };
const sample = async (name: string) =>
  (await metrics.render()).text
    .split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length + 1);

describe('experiments in a server', () => {
  it('settings reach them, and what they tell reaches the metrics', async () => {
    const { hook } = await open([TRIAL, { ...TRIAL, name: 'later', start: '2999-01-01T00:00:00Z' }]);
    expect(await sample('winnow_experiments{state="running"}')).toBe('1');
    expect(await sample('winnow_experiments{state="idle"}')).toBe('1');
    const decision = (await hook.decide(request('u')))!;
    hook.recordRequest({ decision, request: request('u'), latencyMs: 1, arms: [], error: 'inference_failed' });
    const arm = decision.arms[0].arm;
    const labels = `experiment="trial",arm="${arm}",fallback="none",code="inference_failed"`;
    expect(await sample(`winnow_arm_failures_total{${labels}}`)).toBe('1');
    expect(await sample('winnow_exposures_waiting_rows')).toBe('1');
    const results = await opened!.api.addOutcomes([{ request_id: 'r-u', metric: 'clicks' }]);
    expect(results.map(({ status }) => status)).toEqual(['stored']);
    expect(await sample('winnow_outcomes_total{status="stored"}')).toBe('1');
    expect(await sample('winnow_exposures_stored_total')).toBe('1');
  });

  it('`experiments.flagProvider` lets a flag system decide', async () => {
    const module = join(folder, 'flags.mjs');
    writeFileSync(
      module,
      `const off = async (_flag, value) => ({ value });
       export default {
         metadata: { name: 'test' },
         resolveStringEvaluation: async (flag, _value, { targetingKey }) => ({ value: flag === 'trial' && targetingKey === 'vip' ? 'b' : 'a' }),
         resolveBooleanEvaluation: off, resolveNumberEvaluation: off, resolveObjectEvaluation: off,
       };`,
    );
    const { hook } = await open([TRIAL], ['--experiments-flag-provider', module]);
    const armOf = async (user: string) => (await hook.decide(request(user)))?.arms[0].arm;
    expect([await armOf('vip'), await armOf('someone'), await armOf('vip')]).toEqual(['b', 'a', 'b']);
  });

  it('a module without a provider is refused at the start', async () => {
    const module = join(folder, 'empty.mjs');
    writeFileSync(module, 'export default 7;');
    await expect(open([TRIAL], ['--experiments-flag-provider', module])).rejects.toThrow(
      /expected a default export that is an OpenFeature provider, got number/,
    );
  });
});
