import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RequestEvent } from '../../src/http/ports.ts';
import {
  countBatches,
  isRefusedUnread,
  observePool,
  observeRegistry,
  observeRequests,
  observeScheduler,
  versionLabels,
} from '../../src/main/observe.ts';
import { watchCache, watchPool, watchProcess } from '../../src/main/watch.ts';
import type { ServedVersion } from '../../src/registry/registry-types.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/instruments.ts';
import { createLogger, type Logger } from '../../src/telemetry/logger.ts';

let metrics: Metrics;
let lines: string[];
let logger: Logger;
beforeEach(() => {
  metrics = createMetrics({ processMetrics: false });
  lines = [];
  logger = createLogger('info', { write: (line: string) => void lines.push(line) });
});
afterEach(() => metrics.close());

const sample = async (line: string): Promise<string | undefined> =>
  (await metrics.render()).text
    .split('\n')
    .find((l) => l.startsWith(`${line} `))
    ?.slice(line.length + 1);

const answered: RequestEvent = {
  requestId: 'r1',
  method: 'POST',
  route: '/v2/rerank',
  status: 200,
  durationMs: 40,
  dialect: 'cohere-v2',
  lane: 'interactive',
  model: 'm',
  version: '3',
  passages: 100,
  truncated: 4,
  queryTruncated: 60,
  timings: { tokenizeMs: 2, queueMs: 8, inferMs: 30, totalMs: 40 },
};

describe('requests', () => {
  it('refused before their body is read are demand, those beyond the limit of a key are not', () => {
    const { passages: _, timings: __, ...unread } = answered;
    expect(isRefusedUnread({ ...unread, status: 429, code: 'too_many_bytes' })).toBe(true);
    expect(isRefusedUnread({ ...unread, status: 429, code: 'rate_limited' })).toBe(false);
    // An answer that finds no room was scored.
    expect(isRefusedUnread({ ...answered, status: 429, code: 'too_many_bytes' })).toBe(false);
    const { dialect: ___, ...other } = unread;
    expect(isRefusedUnread({ ...other, status: 429, code: 'too_many_bytes' })).toBe(false);
  });

  it('count with their stages', async () => {
    const requests = observeRequests(metrics);
    requests.onScoringStart();
    expect(await sample('winnow_requests_in_flight')).toBe('1');
    requests.onRequest(answered);
    expect(await sample('winnow_requests_in_flight')).toBe('0');
    const labels = 'model="m",version="3",dialect="cohere-v2",lane="interactive"';
    expect(await sample(`winnow_requests_total{${labels},status="200"}`)).toBe('1');
    expect(await sample(`winnow_request_duration_seconds_sum{${labels}}`)).toBe('0.04');
    expect(await sample('winnow_tokenize_duration_seconds_sum{model="m",version="3"}')).toBe('0.002');
    expect(await sample('winnow_queue_wait_seconds_sum{model="m",version="3",lane="interactive"}')).toBe('0.008');
    expect(await sample('winnow_infer_duration_seconds_sum{model="m",version="3"}')).toBe('0.03');
    expect(await sample('winnow_pairs_scored_total{model="m",version="3"}')).toBe('100');
    expect(await sample('winnow_truncated_passages_total{model="m",version="3"}')).toBe('4');
    expect(await sample('winnow_truncated_queries_total{model="m",version="3"}')).toBe('1');
    expect(await sample('winnow_request_passages_sum{dialect="cohere-v2"}')).toBe('100');
  });

  it('that fail count by code, and not among the latencies', async () => {
    const requests = observeRequests(metrics);
    requests.onScoringStart();
    const { timings: _, ...refused } = answered;
    requests.onRequest({ ...refused, status: 429, code: 'overloaded' });
    expect(await sample('winnow_errors_total{code="overloaded",dialect="cohere-v2"}')).toBe('1');
    expect((await metrics.render()).text).not.toContain('winnow_request_duration_seconds_count{');
    expect(await sample('winnow_requests_in_flight')).toBe('0');
  });

  it('inside an experiment count by arm', async () => {
    const requests = observeRequests(metrics);
    requests.onRequest({ ...answered, experiment: { name: 'loss', arm: 'b' } });
    const labels = 'experiment="loss",arm="b"';
    expect(await sample(`winnow_arm_requests_total{${labels},model="m",version="3",status="200"}`)).toBe('1');
    expect(await sample(`winnow_arm_duration_seconds_count{${labels}}`)).toBe('1');
  });

  it('of other routes count by route only', async () => {
    observeRequests(metrics).onRequest({
      requestId: 'r2',
      method: 'GET',
      route: '/health/live',
      status: 200,
      durationMs: 1,
    });
    expect(await sample('winnow_http_requests_total{method="GET",route="/health/live",status="200"}')).toBe('1');
    expect((await metrics.render()).text).not.toContain('winnow_requests_total{');
  });
});

describe('scheduler', () => {
  it('gives batches, padding, queue and shed rows', async () => {
    const scheduler = observeScheduler(metrics, () => 'cpu');
    scheduler.onBatch({
      key: 'm@3',
      lane: 'interactive',
      rows: 8,
      tokens: 900,
      paddedTokens: 1000,
      inferMs: 20,
      host: 1,
      waitMs: 1,
    });
    scheduler.onShed('overloaded', 100, 'batch');
    scheduler.onQueue({ tokens: 5000, rows: 50, jobs: 2 });
    expect(await sample('winnow_batch_rows_sum{model="m",version="3",provider="cpu"}')).toBe('8');
    expect(await sample('winnow_batch_tokens_sum{model="m",version="3",provider="cpu"}')).toBe('1000');
    expect(await sample('winnow_padding_ratio')).toBe('0.1');
    expect(await sample('winnow_shed_rows_total{reason="overloaded",lane="batch"}')).toBe('100');
    expect(await sample('winnow_queue_jobs')).toBe('2');
    expect(await sample('winnow_queue_tokens')).toBe('5000');
    expect(await sample('winnow_queue_rows')).toBe('50');
  });

  it('counts batches and rows by version', async () => {
    const scheduler = observeScheduler(metrics, () => 'cpu');
    const batch = { lane: 'batch', tokens: 10, paddedTokens: 10, inferMs: 20, host: 0, waitMs: 1 } as const;
    scheduler.onBatch({ ...batch, key: 'm@3', rows: 8 });
    scheduler.onBatch({ ...batch, key: 'm@3#2', rows: 3 });
    scheduler.onBatch({ ...batch, key: 'm@4', rows: 1 });
    expect(await countBatches(metrics)).toEqual(
      new Map([
        ['m@3', { batches: 2, rows: 11 }],
        ['m@4', { batches: 1, rows: 1 }],
      ]),
    );
  });

  it('splits a key at its last @', () => {
    expect(versionLabels('org@x@7')).toEqual({ model: 'org@x', version: '7' });
    expect(versionLabels('m@7#2')).toEqual({ model: 'm', version: '7' });
    expect(versionLabels('m@7#2~early')).toEqual({ model: 'm', version: '7~early' });
    expect(versionLabels('plain')).toEqual({ model: 'plain', version: '' });
  });
});

describe('inference hosts', () => {
  it('on several devices are counted by device, and so is their work', async () => {
    const slots = [
      { device: 0, alive: true, rss: 100, cpuMs: 2500 },
      { device: 3, alive: false, rss: 0, cpuMs: 0 },
    ];
    watchPool(metrics, () => ({ provider: 'cuda', alive: 1, slots }));
    const scheduler = observeScheduler(
      metrics,
      () => 'cuda',
      (host) => String(slots[host]!.device),
    );
    const batch = { key: 'm@1', lane: 'batch', rows: 1, tokens: 10, paddedTokens: 10, inferMs: 20, waitMs: 1 } as const;
    for (const host of [0, 1, 1]) scheduler.onBatch({ ...batch, host });
    expect(await sample('winnow_device_hosts{device="0"}')).toBe('1');
    expect(await sample('winnow_device_hosts{device="3"}')).toBe('0');
    expect(await sample('winnow_host_batches_total{host="1",device="3"}')).toBe('2');
    expect(await sample('winnow_host_busy_seconds_total{host="0",device="0"}')).toBe('0.02');
  });

  it('count by event, are logged, and are looked up at each scrape', async () => {
    const pool = observePool(metrics, logger);
    pool({ kind: 'lost', host: 1, cause: 'crashed', reason: 'exit code 1' });
    pool({ kind: 'retry', host: 1, model: 'm@3', reason: 'its host was lost' });
    pool({ kind: 'output', host: 1, line: 'a line of the runtime' });
    let alive = 2;
    const slots = [
      { device: 0, alive: true, rss: 100, cpuMs: 2500 },
      { device: 0, alive: true, rss: 0, cpuMs: 0 },
    ];
    watchPool(metrics, () => ({ provider: 'cpu', alive, slots }));
    expect(await sample('winnow_host_events_total{event="lost",cause="crashed"}')).toBe('1');
    expect(await sample('winnow_batch_repeats_total{reason="retry"}')).toBe('1');
    expect(await sample('winnow_hosts{provider="cpu"}')).toBe('2');
    expect(await sample('winnow_host_resident_memory_bytes{host="0"}')).toBe('100');
    alive = 1;
    expect(await sample('winnow_hosts{provider="cpu"}')).toBe('1');
    expect(lines.map((l) => JSON.parse(l).msg)).toEqual([
      'inference host: lost',
      'inference host: retry',
      'a line of the runtime',
    ]);
  });
});

describe('registry', () => {
  const version: ServedVersion = {
    name: 'm',
    version: '3',
    key: 'm@3',
    folder: '/models/m/3',
    maxLength: 512,
    activation: 'sigmoid',
    reduction: { kind: 'single' },
    objective: undefined,
    variant: 'int8',
    provider: 'cpu',
    sha256: 'sha of m',
    warnings: [],
  };
  const info = 'winnow_model_info{model="m",version="3",variant="int8",provider="cpu"}';

  it('shows a version while it is in memory', async () => {
    const registry = observeRegistry(metrics, logger);
    registry.onLoaded({ version, loadMs: 12.4, bytes: 4096 });
    expect(await sample(info)).toBe('1');
    expect(await sample('winnow_model_bytes{model="m",version="3"}')).toBe('4096');
    registry.onLoaded({ version, loadMs: 10, bytes: 4096 });
    registry.onUnloaded({ version, cause: 'replaced' });
    expect(await sample(info)).toBe('1');
    registry.onUnloaded({ version, cause: 'memory' });
    expect(await sample(info)).toBeUndefined();
    expect(await sample('winnow_model_loads_total{model="m",version="3"}')).toBe('2');
    expect(await sample('winnow_model_unloads_total{model="m",version="3",cause="memory"}')).toBe('1');
  });

  it('tells the warnings of a version at every load', () => {
    const warned = { ...version, warnings: ['a file is not applied', 'scores depend on the batch'] };
    observeRegistry(metrics, logger).onLoaded({ version: warned, loadMs: 1, bytes: 1 });
    expect(lines.map((l) => JSON.parse(l)).slice(1)).toMatchObject([
      { level: 'warn', msg: 'model warning', model: 'm', version: '3', warning: 'a file is not applied' },
      { level: 'warn', msg: 'model warning', warning: 'scores depend on the batch' },
    ]);
  });

  it('tells why a version was refused, and where requests go', async () => {
    const registry = observeRegistry(metrics, logger);
    registry.onRefused({ name: 'm', version: '4', code: 'hash_mismatch', reason: 'a file changed' });
    registry.onRouted({ name: 'm', label: 'stable', from: '3', to: '5' });
    registry.onProblem({ where: 'labels.json', reason: 'does not parse' });
    expect(await sample('winnow_admissions_refused_total{model="m",version="4"}')).toBe('1');
    expect(await sample('winnow_model_routes_total{model="m",version="5",label="stable"}')).toBe('1');
    expect(lines.map((l) => JSON.parse(l))).toMatchObject([
      { level: 'error', msg: 'model refused', code: 'hash_mismatch', reason: 'a file changed' },
      { level: 'info', msg: 'model routed', from: '3', to: '5' },
      { level: 'warn', msg: 'registry problem', where: 'labels.json' },
    ]);
  });
});

describe('what is looked up at a scrape', () => {
  it('a cache gives its counts once each', async () => {
    const stats = { hits: 5, misses: 2, bytes: 900 };
    watchCache(metrics, 'tokens', () => stats);
    expect(await sample('winnow_cache_hits_total{cache="tokens"}')).toBe('5');
    stats.hits = 9;
    expect(await sample('winnow_cache_hits_total{cache="tokens"}')).toBe('9');
    expect(await sample('winnow_cache_misses_total{cache="tokens"}')).toBe('2');
    expect(await sample('winnow_cache_bytes{cache="tokens"}')).toBe('900');
  });

  it('the process gives build, engine and readiness', async () => {
    let ready = false;
    watchProcess(metrics, { version: '0.1.0', provider: 'cpu' }, () => ready);
    expect(await sample(`winnow_info{version="0.1.0",node="${process.version}",provider="cpu"}`)).toBe('1');
    expect(await sample('winnow_ready')).toBe('0');
    ready = true;
    expect(await sample('winnow_ready')).toBe('1');
  });
});
