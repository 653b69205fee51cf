import { pathToFileURL } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { monotonicClock, wallClock } from '../../src/util/clock.ts';
import { mapAhead } from '../../src/util/look-ahead.ts';
import { Mutex } from '../../src/util/mutex.ts';
import { workerEntry } from '../../src/util/worker-entry.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('Mutex', () => {
  it('runs tasks one after another in their order, also after one that failed', async () => {
    const mutex = new Mutex();
    const events: string[] = [];
    const task = (name: string) => async () => {
      events.push(`${name} starts`);
      await turn();
      events.push(`${name} ends`);
      if (name === 'a') throw new Error('broken');
      return name;
    };
    const results = await Promise.allSettled([mutex.run(task('a')), mutex.run(task('b'))]);
    expect(events).toEqual(['a starts', 'a ends', 'b starts', 'b ends']);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  });

  it('is idle when the tasks added so far have settled', async () => {
    const mutex = new Mutex();
    let isDone = false;
    const failing = mutex.run(async () => {
      await turn();
      isDone = true;
      throw new Error('broken');
    });
    failing.catch(() => undefined);
    await mutex.idle();
    expect(isDone).toBe(true);
  });
});

describe('mapAhead', () => {
  const collect = async <T>(results: AsyncIterable<T>): Promise<T[]> => {
    const all: T[] = [];
    for await (const result of results) all.push(result);
    return all;
  };

  it('keeps the order of the items and the limit of their weights', async () => {
    let weight = 0;
    let most = 0;
    const items = [3, 1, 2, 5, 1, 1, 1];
    const results = mapAhead(items, { limit: 4, weight: (n) => n }, async (n) => {
      weight += n;
      most = Math.max(most, weight);
      for (let i = 0; i < 10 - n; i++) await turn();
      weight -= n;
      return 10 * n;
    });
    expect(await collect(results)).toEqual(items.map((n) => 10 * n));
    // An item above the limit runs alone.
    expect(most).toBe(5);
  });

  it('reports a failure in the turn of its item', async () => {
    const seen: number[] = [];
    const results = mapAhead([1, 2, 3], { limit: 3 }, async (n) => {
      if (n === 2) throw new Error('broken');
      await turn();
      return n;
    });
    await expect(
      (async () => {
        for await (const n of results) seen.push(n);
      })(),
    ).rejects.toThrow('broken');
    expect(seen).toEqual([1]);
  });
});

it('a worker entry has the extension of the module that starts it', () => {
  const base = pathToFileURL('/app/dist/inference/host-client.js').href;
  expect(workerEntry('./host', base).pathname).toBe('/app/dist/inference/host.js');
  expect(workerEntry('../util/x', base.replace(/js$/, 'ts')).pathname).toBe('/app/dist/util/x.ts');
});

describe.each([
  ['monotonicClock', monotonicClock],
  ['wallClock', wallClock],
])('%s', (_, clock) => {
  it('fires timers beyond the limit of Node late, not at once', () => {
    vi.useFakeTimers();
    try {
      const call = vi.fn();
      const cancel = clock.after(2 ** 40, call);
      vi.advanceTimersByTime(1000);
      expect(call).not.toHaveBeenCalled();
      cancel();
    } finally {
      vi.useRealTimers();
    }
  });
});
