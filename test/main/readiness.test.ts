import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { isInference, livenessOf } from '../../src/main/open-readiness.ts';
import { ReadinessWatch } from '../../src/main/readiness.ts';
import { SimulatedClock } from '../scheduling/simulation.ts';

type Result = Error | 'hang' | undefined;

/** A watch whose checks give what `results` say, the last one again and again. */
function watch(...results: Result[]) {
  const clock = new SimulatedClock();
  const changes: unknown[] = [];
  const aborted: boolean[] = [];
  let checks = 0;
  let files: Error | undefined;
  let hasGrace = false;
  const readiness = new ReadinessWatch({
    hasGrace: () => hasGrace,
    graceMs: 8000,
    check: async (signal) => {
      const result = results[Math.min(checks++, results.length - 1)];
      if (result === 'hang') {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        aborted.push(true);
      }
      if (result instanceof Error) throw result;
    },
    checkFiles: async () => {
      if (files) throw files;
    },
    onChange: (state) => changes.push(state),
    everyMs: 3000,
    deadlineMs: 5000,
    clock,
  });
  return {
    readiness,
    changes,
    aborted,
    clock,
    checks: () => checks,
    grace(given: boolean) {
      hasGrace = given;
    },
    lose: (error: Error | undefined) => {
      files = error;
    },
  };
}

const READY = { ready: true };

describe('readiness', () => {
  it('is false until an inference has succeeded', async () => {
    const { readiness } = watch(undefined);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'starting' });
    await readiness.start();
    expect(await readiness.probe()).toEqual(READY);
  });

  it('is checked again without being asked, and follows what the checks find', async () => {
    const { readiness, changes, clock } = watch(
      new Error('no model'),
      new Error('no model'),
      undefined,
      new Error('lost'),
      undefined,
    );
    await readiness.start();
    await clock.run(12_000);
    expect(changes).toEqual([{ ready: false, reason: 'no model' }, READY, { ready: false, reason: 'lost' }, READY]);
  });

  it('is false within interval and deadline when inference hangs, and the check is told to stop', async () => {
    const { readiness, aborted, clock } = watch(undefined, 'hang', undefined);
    await readiness.start();
    await clock.run(8000);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'no inference was done within 5000 ms' });
    expect(aborted).toEqual([true]);
    await clock.run(11_000);
    expect(await readiness.probe()).toEqual(READY);
  });

  it('takes answered requests for checks', async () => {
    const { readiness, checks, clock } = watch(undefined);
    await readiness.start();
    for (let at = 1000; at <= 30_000; at += 1000) {
      readiness.answered();
      await clock.run(at);
    }
    expect(checks()).toBe(1);
    await clock.run(40_000);
    expect(checks()).toBeGreaterThan(1);
  });

  it('looks at the files though requests are answered', async () => {
    const { readiness, clock, lose } = watch(undefined);
    await readiness.start();
    lose(new Error('gone'));
    readiness.answered();
    await clock.run(3000);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'gone' });
    lose(undefined);
    await clock.run(6000);
    expect(await readiness.probe()).toEqual(READY);
  });

  it('stays true while a check is refused for load, as long as answers come', async () => {
    const busy = new WinnowError('overloaded', { waitMs: 9, seconds: 1 });
    const { readiness, clock } = watch(undefined, busy);
    await readiness.start();
    await clock.run(6000);
    expect(readiness.ready).toBe(true);
    await clock.run(12_000);
    expect(readiness.ready).toBe(false);
  });

  it('stays true while a host is replaced, and no longer', async () => {
    const { readiness, grace, clock } = watch(undefined, new Error('no host'));
    await readiness.start();
    grace(true);
    await clock.run(6000);
    expect(readiness.ready).toBe(true);
    grace(false);
    expect(await readiness.check()).toEqual({ ready: false, reason: 'no host' });
    // A grace makes nothing ready that was not.
    grace(true);
    expect(await readiness.check()).toEqual({ ready: false, reason: 'no host' });
  });

  it('is false where hosts are replaced again and again, and no inference succeeds', async () => {
    const { readiness, grace, clock } = watch(undefined, new Error('lost'));
    await readiness.start();
    grace(true);
    await clock.run(10_000);
    expect(readiness.ready).toBe(true);
    await clock.run(12_000);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'lost' });
  });

  it('runs one check at a time', async () => {
    const { readiness, checks } = watch(undefined);
    await Promise.all([readiness.check(), readiness.check(), readiness.check()]);
    expect(checks()).toBe(1);
  });

  it('is false for good once the process is to leave, even if a check succeeds afterwards', async () => {
    const { readiness, changes, clock } = watch(undefined);
    const checking = readiness.start();
    readiness.drain();
    await checking;
    await clock.run(60_000);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'shutting down' });
    expect(readiness.draining()).toBe(true);
    expect(changes).toEqual([{ ready: false, reason: 'shutting down' }]);
    expect(clock.pending).toBe(0);
  });
});

describe('liveness', () => {
  const absent = (ageMs: number) => ({ facts: () => ({ outage: { ageMs, isOverGrace: true, reason: 'no memory' } }) });
  it('fails when no host has started for as long as the setting says, and says why', () => {
    expect(livenessOf({ facts: () => ({ outage: undefined }) }, 1000)).toEqual({ live: true });
    expect(livenessOf(absent(179_999), 180_000)).toEqual({ live: true });
    expect(livenessOf(absent(180_000), 180_000)).toEqual({
      live: false,
      reason: 'no inference host has started for 180 s: no memory',
    });
    expect(livenessOf(absent(1e9), 0)).toEqual({ live: true });
  });
});

describe('a request that shows that the default model computes', () => {
  const event = { requestId: 'r', method: 'POST', route: '/rerank', durationMs: 1, status: 200, model: 'm' };
  const timings = { tokenizeMs: 1, queueMs: 1, inferMs: 5, totalMs: 7 };
  it.each([
    ['answered by it', { ...event, timings }, 'm', true],
    ['whose reference has a version', { ...event, timings }, 'm@1', true],
    ['answered by another model', { ...event, timings }, 'other', false],
    ['that failed', { ...event, status: 503, timings }, 'm', false],
    ['answered from the cache', { ...event, timings: { ...timings, inferMs: 0 } }, 'm', false],
    ['that scores nothing', event, 'm', false],
    ['without a default model', { ...event, timings }, undefined, false],
  ])('%s', (_, given, defaultModel, expected) => {
    expect(isInference(given, defaultModel)).toBe(expected);
  });
});
