import { describe, expect, it } from 'vitest';
import { ReadinessLatch } from '../../src/main/readiness.ts';

function latch(results: readonly (Error | undefined)[]) {
  let checks = 0;
  let now = 0;
  const changes: unknown[] = [];
  const readiness = new ReadinessLatch({
    check: async () => {
      const result = results[Math.min(checks++, results.length - 1)];
      if (result) throw result;
    },
    onChange: (state) => changes.push(state),
    retryMs: 1000,
    now: () => now,
  });
  return { readiness, changes, checks: () => checks, advance: (ms: number) => (now += ms) };
}

describe('readiness', () => {
  it('is false until an inference has succeeded, and stays true without another one', async () => {
    const { readiness, checks } = latch([undefined]);
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'starting' });
    await readiness.check();
    expect(await readiness.probe()).toEqual({ ready: true });
    expect(await readiness.probe()).toEqual({ ready: true });
    expect(checks()).toBe(1);
  });

  it('tells why not, and checks again when asked later', async () => {
    const { readiness, changes, checks, advance } = latch([new Error('no model'), new Error('no model'), undefined]);
    await readiness.check();
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'no model' });
    expect(checks()).toBe(1);
    advance(1000);
    await readiness.probe();
    await readiness.check();
    expect(readiness.ready).toBe(false);
    await readiness.check();
    expect(readiness.ready).toBe(true);
    expect(changes).toEqual([{ ready: false, reason: 'no model' }, { ready: true }]);
  });

  it('runs one check at a time', async () => {
    const { readiness, checks } = latch([undefined]);
    await Promise.all([readiness.check(), readiness.check(), readiness.check()]);
    expect(checks()).toBe(1);
  });

  it('is false for good once the process is to leave, even if a check succeeds afterwards', async () => {
    const { readiness, changes } = latch([undefined]);
    const checking = readiness.check();
    readiness.drain();
    await checking;
    expect(await readiness.probe()).toEqual({ ready: false, reason: 'shutting down' });
    expect(readiness.draining()).toBe(true);
    expect(changes).toEqual([{ ready: false, reason: 'shutting down' }]);
  });
});
