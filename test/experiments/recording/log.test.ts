import { afterEach, describe, expect, it } from 'vitest';
import { keyedDigest, unitHash } from '../../../src/experiments/assignment/units.ts';
import { ExposureLog } from '../../../src/experiments/recording/exposure-log.ts';
import type { PendingExposure } from '../../../src/experiments/recording/exposures.ts';
import { OutcomeWriter } from '../../../src/experiments/recording/outcomes.ts';
import type { ExperimentStore, Exposure, Outcome } from '../../../src/experiments/records.ts';
import { openStore } from '../../../src/experiments/store/store.ts';
import { type Lab, LabClock, MODELS, openLab, SPLIT } from '../lab.ts';

const pending = (requestId: string, passages: readonly string[] = ['x']): PendingExposure => ({
  record: {
    requestId,
    at: 1000,
    experiment: 'trial',
    configHash: 'c',
    mode: 'split',
    unitKind: 'user',
    hashVersion: 2,
    arm: 'a',
    models: {},
    forced: false,
    failed: false,
    latencyMs: 1,
    truncated: 0,
  },
  unitId: `unit of ${requestId}`,
  passages,
  candidates: passages.map((_, index) => ({ index, score: index })),
});

/** A log over a store that fails while `down` is true. */
function open(bufferRows = 1000) {
  const written: Exposure[][] = [];
  const reported = { lost: [] as [number, string][], problems: 0, buffer: 0, stored: 0 };
  const state = { down: false };
  const clock = new LabClock();
  const store = {
    async addExposures(exposures: readonly Exposure[]) {
      if (state.down) throw new Error('connection refused');
      written.push([...exposures]);
    },
  } as unknown as ExperimentStore;
  const log = new ExposureLog({
    store: async () => store,
    secret: async () => 'key',
    bufferRows,
    clock,
    observer: {
      onLost: (rows, reason) => void reported.lost.push([rows, reason]),
      onProblem: () => void reported.problems++,
      onStored: (rows) => {
        reported.stored += rows;
      },
      onBuffer: (rows) => {
        reported.buffer = rows;
      },
    },
  });
  return { log, written, reported, state, clock };
}

describe('the exposure log', () => {
  it('writes in groups, in order, with digests of texts and keyed hashes of units', async () => {
    const { log, written } = open(2000);
    for (let i = 0; i < 1100; i++) log.add(pending(`r${i}`));
    await log.flush();
    expect(written.flat().map(({ requestId }) => requestId)).toEqual(Array.from({ length: 1100 }, (_, i) => `r${i}`));
    expect(Math.max(...written.map((group) => group.length))).toBeLessThanOrEqual(500);
    expect(written[0]![0]).toMatchObject({
      unit: unitHash('key', 'unit of r0'),
      items: [{ digest: keyedDigest('key', '2d711642b726b044'), index: 0, score: 0 }],
    });
  });

  it('adding never waits: a list of 10,000 passages is digested between other work', async () => {
    const { log, written } = open();
    const passages = Array.from({ length: 1000 }, (_, i) => `passage ${i}`);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    for (let i = 0; i < 10; i++) log.add(pending(`r${i}`, passages));
    expect(written).toEqual([]);
    await log.flush();
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
    expect(written.flat()).toHaveLength(10);
  });

  it('waits while the database is down, with growing pauses, and loses nothing within its bound', async () => {
    const { log, written, reported, state, clock } = open();
    state.down = true;
    log.add(pending('r1'));
    await expect(log.flush()).rejects.toThrow('connection refused');
    const problems = reported.problems;
    for (const pause of [100, 200, 400]) {
      clock.advance(pause - 1);
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(reported.problems - problems).toBe(3);
    log.add(pending('r2'));
    state.down = false;
    await log.flush();
    expect(written.flat().map(({ requestId }) => requestId)).toEqual(['r1', 'r2']);
    expect(reported).toMatchObject({ lost: [], stored: 2, buffer: 0 });
  });

  it('beyond its bound it loses the newest, and counts them', async () => {
    const { log, written, reported, state } = open(3);
    state.down = true;
    for (let i = 0; i < 5; i++) log.add(pending(`r${i}`));
    expect(reported.lost).toEqual([
      [1, 'buffer_full'],
      [1, 'buffer_full'],
    ]);
    state.down = false;
    await log.flush();
    expect(written.flat().map(({ requestId }) => requestId)).toEqual(['r0', 'r1', 'r2']);
  });

  it('closing writes what waits; what cannot be written is counted as lost', async () => {
    const one = open();
    one.log.add(pending('r1'));
    await one.log.close(1000);
    expect(one.written.flat()).toHaveLength(1);
    one.log.add(pending('late'));
    expect(one.reported.lost).toEqual([[1, 'closed']]);
    const other = open();
    other.state.down = true;
    other.log.add(pending('r1'));
    await other.log.close(1000);
    expect(other.reported.lost).toEqual([[1, 'closed']]);
  });

  it('a flush waits for what was there when it began, not for what comes after', async () => {
    const { log, written } = open(5000);
    log.add(pending('r1'));
    const flushed = log.flush();
    for (let i = 0; i < 2000; i++) log.add(pending(`later ${i}`));
    await flushed;
    expect(written.flat()[0]!.requestId).toBe('r1');
    await log.flush();
    expect(written.flat()).toHaveLength(2001);
  });
});

describe('the outcome writer', () => {
  it('clients that come together share a transaction', async () => {
    const store = await openStore(':memory:');
    const groups: number[] = [];
    const counting = {
      ...store,
      addOutcomes(outcomes: readonly Outcome[]) {
        groups.push(outcomes.length);
        return store.addOutcomes(outcomes);
      },
    };
    await store.addExposures([{ ...pending('r1').record, unit: 'u', items: [] }]);
    const writer = new OutcomeWriter(async () => counting);
    const one = (key: string): Outcome => ({ key, at: 1, metric: 'clicks', value: 1, requestId: 'r1' });
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => writer.add([one(`k${i % 49}`)])));
    expect(results.flat().toSorted()).toEqual(['duplicate', ...Array(49).fill('stored')]);
    expect(groups).toEqual([1, 49]);
    await store.close();
  });
});

describe('outcomes', () => {
  let lab: Lab;
  afterEach(() => lab.close());
  const open = async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
  };
  const clicks = async () => (await lab.api.report('trial')).metrics[0]!.arms.map(({ value, n }) => value * n);

  it('of an answer are known as soon as the client has it', async () => {
    await open();
    for (const user of ['u1', 'u2', 'u3', 'u4', 'u5', 'u6']) await lab.ask(user, [1, 2]);
    // Nothing was written yet: the exposures wait for company.
    expect(lab.service.log.waiting).toBe(6);
    const sent = ['r1', 'r2', 'r3', 'r4', 'r5', 'r6'].map((request_id) => ({ request_id, metric: 'clicks' }));
    expect((await lab.api.addOutcomes(sent)).map(({ status }) => status)).toEqual(Array(6).fill('stored'));
    expect((await clicks()).reduce((a, b) => a + b)).toBe(6);
  });

  it('are known too if their exposure is written just while they are looked up', async () => {
    await open();
    await lab.ask('u', [1]);
    const { outcomes, log } = lab.service;
    const add = outcomes.add.bind(outcomes);
    // The exposure is written behind the look-up that missed it and before its answer is read.
    outcomes.add = async (sent) => {
      outcomes.add = add;
      const statuses = await add(sent);
      await log.flush();
      return statuses;
    };
    expect(await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks' }])).toMatchObject([{ status: 'stored' }]);
  });

  it('sent twice count once; an own key tells two of the same kind apart', async () => {
    await open();
    await lab.ask('u', [1, 2]);
    const click = { request_id: 'r1', metric: 'clicks', item: 0 };
    const send = async (...sent: Parameters<Lab['api']['addOutcomes']>[0]) =>
      (await lab.api.addOutcomes(sent)).map(({ status }) => status);
    expect(await send(click, click)).toEqual(['stored', 'duplicate']);
    expect(await send(click)).toEqual(['duplicate']);
    expect(await send({ ...click, key: 'second' })).toEqual(['stored']);
    expect(await send({ ...click, at: '2026-10-31T10:00:00Z' }, { ...click, item: 1 })).toEqual(['stored', 'stored']);
  });

  it('the same key for two metrics are two; for other content it is a conflict, also in one array', async () => {
    await open();
    await lab.ask('u', [1, 2]);
    const order = { request_id: 'r1', metric: 'orders', key: 'order 7' };
    const revenue = { ...order, metric: 'revenue', value: 12.5 };
    const statuses = async (...sent: Parameters<Lab['api']['addOutcomes']>[0]) =>
      (await lab.api.addOutcomes(sent)).map(({ status }) => status);
    expect(await statuses(order, revenue)).toEqual(['stored', 'stored']);
    expect(await statuses(order, { ...revenue, value: 13 })).toEqual(['duplicate', 'conflict']);
  });

  it('a place that the request does not have is refused with all that was sent beside it', async () => {
    await open();
    await lab.ask('u', [1, 2, 3]);
    const click = (item: number, request_id = 'r1') => ({ request_id, metric: 'clicks', item });
    await expect(lab.api.addOutcomes([click(99)])).rejects.toMatchObject({
      code: 'invalid_field',
      message: 'expected a place below 3, the passages of request r1, got 99 (item)',
    });
    await expect(lab.api.addOutcomes([click(2), click(3)])).rejects.toThrow('([1].item)');
    const results = await lab.api.addOutcomes([click(2), click(7, 'nobody')]);
    expect(results.map(({ status }) => status)).toEqual(['stored', 'unknown']);
  });

  it.each([2, -2, 240, -240])('of a client whose clock is %i s ahead are outcomes, not covariates', async (ahead) => {
    await open();
    const units = Array.from({ length: 3 }, (_, i) => `u${i}`);
    for (const [i, unit] of units.entries()) {
      await lab.ask(unit, [1]);
      lab.clock.advance(1000);
      const at = lab.clock.now() + 1000 * ahead;
      await lab.api.addOutcomes([
        { request_id: `r${i + 1}`, metric: 'clicks', at },
        { unit, metric: 'orders', at },
      ]);
    }
    const rows = [];
    const range = { until: lab.clock.now(), beforeMs: 28 * 86_400_000 };
    for await (const { sums, before } of (await lab.service.store()).units('trial', range)) rows.push({ sums, before });
    expect(rows).toEqual(units.map(() => ({ sums: { clicks: 1, orders: 1 }, before: {} })));
  });

  it('of unknown requests and units are distinguished from the others', async () => {
    await open();
    await lab.ask('u', [1]);
    const results = await lab.api.addOutcomes([
      { request_id: 'nobody', metric: 'clicks' },
      { unit: 'u', metric: 'orders', value: 12.5 },
      { unit: 'stranger', metric: 'orders' },
    ]);
    expect(results.map(({ status }) => status)).toEqual(['unknown', 'stored', 'unknown']);
  });

  it('late ones are joined; those from before the first exposure are covariates; the future is refused', async () => {
    await open();
    await lab.ask('u', [1]);
    lab.clock.advance(20 * 86_400_000);
    await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks', value: 3 }]);
    const before = new Date(Date.parse('2026-10-30T00:00:00Z')).toISOString();
    await lab.api.addOutcomes([{ unit: 'u', metric: 'clicks', value: 7, at: before }]);
    const units = [];
    for await (const row of (await lab.service.store()).units('trial', { beforeMs: 28 * 86_400_000 })) units.push(row);
    expect(units).toMatchObject([{ sums: { clicks: 3 }, before: { clicks: 7 } }]);
    const future = lab.clock.now() + 400_000;
    await expect(lab.api.addOutcomes([{ unit: 'u', metric: 'clicks', at: future }])).rejects.toMatchObject({
      code: 'invalid_field',
    });
  });

  it('older than the retention are forgotten', async () => {
    await open();
    await lab.ask('u', [1]);
    await lab.service.log.flush();
    lab.clock.advance(91 * 86_400_000);
    await lab.service.settled();
    expect(await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks' }])).toMatchObject([{ status: 'unknown' }]);
  });
});

describe('a database that is down', () => {
  it('costs no answer; outcomes are refused so that they are sent again; exposures wait for it', async () => {
    const nowhere = 'postgres://winnow@127.0.0.1:1/nowhere';
    const lab = await openLab(MODELS, { database: nowhere });
    expect(lab.reported.problems).toMatchObject([
      { where: 'database', reason: expect.stringContaining('ECONNREFUSED') },
      {},
    ]);
    expect((await lab.ask('u', [2, 1])).ranking.map(({ index }) => index)).toEqual([0, 1]);
    await expect(lab.api.put('trial', SPLIT, 'ada')).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks' }])).rejects.toMatchObject({
      code: 'store_unavailable',
      params: { reason: 'ECONNREFUSED' },
    });
    await lab.close();
  });
});
