import { afterAll, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { OPERATIONS } from '../../src/http/openapi/operations.ts';
import { OTHER_CODES, SCORING_CODES } from '../../src/main/known-labels.ts';
import { observeExperiments, observeRequests, observeScheduler } from '../../src/main/observe.ts';
import { createMetrics } from '../../src/telemetry/instruments.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const metrics = createMetrics({ processMetrics: false });
afterAll(() => metrics.close());

describe('series that start at 0', () => {
  it('are every error that an operation of the API names', () => {
    const operations = Object.values(OPERATIONS);
    const scoring = operations.filter(({ dialects }) => dialects !== undefined).flatMap(({ errors }) => errors);
    expect(scoring.filter((code) => !SCORING_CODES.includes(code))).toEqual([]);
    const all = [...SCORING_CODES, ...OTHER_CODES];
    expect(operations.flatMap(({ errors }) => errors).filter((code) => !all.includes(code))).toEqual([]);
    expect(all.filter((code) => new WinnowError(code).code !== code)).toEqual([]);
    expect(new Set(all).size).toBe(all.length);
  });

  it('are there before the first event, so that the first one is an increase', async () => {
    const requests = observeRequests(metrics);
    observeScheduler(metrics, () => 'cpu', undefined, 2);
    observeExperiments(metrics, createLogger('silent')).onDefinitions({
      defined: 1,
      running: 1,
      definitions: [{ name: 'loss', arms: [{ name: 'a' }, { name: 'b' }] }],
    });
    const read = async () => {
      const { text } = await metrics.render();
      return new Map(
        text.split('\n').map((line): [string, string] => [line.replace(/ \S+$/, ''), line.split(' ').at(-1)!]),
      );
    };
    const before = await read();
    for (const series of [
      'winnow_errors_total{code="overloaded",dialect="tei"}',
      'winnow_errors_total{code="store_unavailable",dialect=""}',
      'winnow_shed_rows_total{reason="expired",lane="shadow"}',
      'winnow_host_events_total{event="lost",cause="killed"}',
      'winnow_host_batches_total{host="1",device=""}',
      'winnow_host_busy_ratio{host="1",device=""}',
      'winnow_batch_repeats_total{reason="split"}',
      'winnow_exposures_lost_total{reason="buffer_full"}',
      'winnow_outcomes_total{status="conflict"}',
      'winnow_experiment_problems_total{where="database"}',
      'winnow_guardrail_trips_total{experiment="loss"}',
      'winnow_arm_failures_total{experiment="loss",arm="b",fallback="missing",code="model_refused"}',
      'winnow_shadow_failures_total{experiment="loss",arm="b",code="host_lost"}',
    ])
      expect(before.get(series), series).toBe('0');
    requests.onRequest({
      requestId: 'r',
      method: 'POST',
      route: '/rerank',
      status: 429,
      durationMs: 1,
      dialect: 'tei',
      code: 'overloaded',
    });
    const after = await read();
    const fresh = [...after.keys()].filter((key) => key.startsWith('winnow_errors_total') && !before.has(key));
    expect(fresh).toEqual([]);
    expect(after.get('winnow_requests_total{model="",version="",dialect="tei",lane="interactive",status="503"}')).toBe(
      '0',
    );
  });

  it('are few enough for a scrape', async () => {
    const { text } = await metrics.render();
    expect(text.split('\n').length).toBeLessThan(1500);
  });
});
