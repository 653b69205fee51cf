import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPassageCache } from '../../src/passages/passage-cache.ts';
import type {
  ComputePassages,
  HeldPassages,
  PassageCache,
  PassageModel,
  PassageObserver,
  PassageScope,
  Urgency,
} from '../../src/passages/passage-types.ts';

const MODEL: PassageModel = { name: 'e', version: '1', sha256: 'a', variant: 'fp32', provider: 'cpu', salt: '' };
const SCOPE: PassageScope = { model: MODEL, passagePrefix: 'passage: ', cut: '512' };
const salted = (salt: string): PassageScope => ({ ...SCOPE, model: { ...MODEL, salt } });
const KIB = 1024;

const row = (...ids: number[]) => ({ ids: Int32Array.from(ids) });
/** Returns the value that belongs to a row. */
const bytesOf = (ids: Int32Array) => new Uint8Array(Float32Array.from(ids, (id) => id * 1.5 + 0.1).buffer);

interface Ask {
  readonly rows: readonly { readonly ids: Int32Array }[];
  readonly scope?: PassageScope;
  readonly urgency?: Partial<Urgency>;
  readonly compute?: ComputePassages;
  readonly guard?: <T>(promise: Promise<T>) => Promise<T>;
}

/** Reads rows through a cache. Returns copies of the values, and which rows this request computed. */
async function read(cache: PassageCache, ask: Ask): Promise<HeldPassages> {
  const { rows, scope = SCOPE, urgency = {}, guard = (promise) => promise } = ask;
  const compute = ask.compute ?? (async (missing: readonly number[]) => missing.map((i) => bytesOf(rows[i]!.ids)));
  const keys = await cache.keys(scope, rows);
  const lengths = rows.map(({ ids }) => ids.length);
  const request = { model: scope.model, keys, lengths, guard, share: '', lane: 0, priority: 0, ...urgency };
  return cache.hold(request, compute, ({ values, missed }) => ({
    values: values.map((value) => value.slice()),
    missed: [...missed],
  }));
}

const countsOf = (cache: PassageCache) => cache.stats().models[0]!;

describe('keys', () => {
  it('differ with everything a value depends on', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const scopes: PassageScope[] = [
      SCOPE,
      { ...SCOPE, passagePrefix: '' },
      { ...SCOPE, cut: '128' },
      salted('shop'),
      ...Object.keys(MODEL).map((field) => ({ ...SCOPE, model: { ...MODEL, [field]: 'other' } })),
    ];
    const rows = [row(1, 2, 3), row(1, 2), row(1, 2, 3, 0), row(3, 2, 1), row(0x0201, 3)];
    const keys = await Promise.all(scopes.map((scope) => cache.keys(scope, rows)));
    const texts = keys.flatMap((all) => rows.map((_, i) => all.slice(4 * i, 4 * i + 4).join(' ')));
    expect(new Set(texts).size).toBe(scopes.length * rows.length);
    expect(await cache.keys(SCOPE, [rows[1]!])).toEqual(keys[0]!.slice(4, 8));
  });

  it('leave turns of the event loop to others', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = Array.from({ length: 5000 }, (_, i) => ({ ids: new Int32Array(512).fill(i) }));
    let turns = 0;
    let isDone = false;
    const count = () => {
      turns++;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    const keys = await cache.keys(SCOPE, rows);
    isDone = true;
    expect(keys.length).toBe(4 * rows.length);
    expect(turns).toBeGreaterThan(5);
  });
});

describe('a passage cache', () => {
  it('computes a value once and returns the same bytes from then on', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(5, 6), row(7), row(5, 6)];
    const first = await read(cache, { rows });
    expect(first.values).toEqual(rows.map(({ ids }) => bytesOf(ids)));
    expect(first.missed).toEqual([true, true, false]);
    const second = await read(cache, { rows: [rows[1]!, row(8), rows[0]!] });
    expect(second.missed).toEqual([false, true, false]);
    expect(second.values[2]).toEqual(first.values[0]);
    expect(countsOf(cache)).toMatchObject({ entries: 3, hits: 3, misses: 3, evictions: 0, model: MODEL });
  });

  it('always makes the first call, which may name no row', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    await read(cache, { rows: [row(1)] });
    const calls: (readonly number[])[] = [];
    await read(cache, {
      rows: [row(1)],
      compute: async (missing) => {
        calls.push(missing);
        return [];
      },
    });
    expect(calls).toEqual([[]]);
  });

  it('does not share entries between salts', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    await read(cache, { rows: [row(1)], scope: salted('a') });
    expect((await read(cache, { rows: [row(1)], scope: salted('b') })).missed).toEqual([true]);
    expect((await read(cache, { rows: [row(1)], scope: salted('a') })).missed).toEqual([false]);
  });

  it('keeps the values of a request that reads while others evict', async () => {
    const cache = createPassageCache({ bytes: 64 * KIB });
    const mine = Array.from({ length: 4 }, (_, i) => row(...Array.from({ length: 500 }, (_, t) => i * 1000 + t)));
    await read(cache, { rows: mine });
    const keys = await cache.keys(SCOPE, mine);
    const lengths = mine.map(({ ids }) => ids.length);
    const request = {
      model: MODEL,
      keys,
      lengths,
      share: '',
      lane: 0,
      priority: 0,
      guard: <T>(promise: Promise<T>) => promise,
    };
    await cache.hold(
      request,
      async () => [],
      async ({ values, missed }) => {
        expect(missed).toEqual([false, false, false, false]);
        for (let round = 0; round < 30; round++)
          await read(cache, { rows: [row(...Array.from({ length: 480 }, (_, t) => -(round * 1000 + t)))] });
        await cache.clear({});
        expect(values).toEqual(mine.map(({ ids }) => bytesOf(ids)));
      },
    );
    expect(countsOf(cache).evictions).toBeGreaterThan(0);
    expect(cache.stats()).toMatchObject({ entries: 0 });
    expect((await read(cache, { rows: mine })).missed).toEqual([true, true, true, true]);
  });

  it('counts what it did not keep', async () => {
    const cache = createPassageCache({ bytes: 64 * KIB });
    const huge = [row(...new Array<number>(5000).fill(1))];
    expect((await read(cache, { rows: huge })).values).toEqual([bytesOf(huge[0]!.ids)]);
    expect(countsOf(cache)).toMatchObject({ entries: 0, unkept: 1 });
  });

  it('clears by version, and tells the observer', async () => {
    const events: unknown[] = [];
    const observer: PassageObserver = {
      onInsert: ({ model, tokens, value }) => events.push(['insert', model.version, tokens, value.byteLength]),
      onClear: (filter, why) => events.push(['clear', filter, why]),
    };
    const cache = createPassageCache({ bytes: 256 * KIB, observer });
    const two = { ...SCOPE, model: { ...MODEL, version: '2' } };
    await read(cache, { rows: [row(1), row(2, 3)] });
    await read(cache, { rows: [row(1)], scope: two });
    const cleared = await cache.clear({ name: 'e', version: '1' }, 'unloaded');
    expect(cleared.entries).toBe(2);
    expect(cleared.bytes).toBeGreaterThan(0);
    expect(cache.stats().models.map(({ entries, bytes }) => [entries, bytes > 0])).toEqual([
      [0, false],
      [1, true],
    ]);
    expect(events).toEqual([
      ['insert', '1', 1, 4],
      ['insert', '1', 2, 8],
      ['insert', '2', 1, 4],
      ['clear', { name: 'e', version: '1' }, 'unloaded'],
    ]);
  });

  it('takes entries back, without an event and without evicting others', async () => {
    const kept: { key: Uint32Array<ArrayBuffer>; model: PassageModel; tokens: number; value: Uint8Array }[] = [];
    const observer: PassageObserver = {
      onInsert: (entry) => kept.push({ ...entry, value: entry.value.slice() }),
    };
    const rows = Array.from({ length: 200 }, (_, i) => row(...Array.from({ length: 400 }, (_, t) => i * 400 + t)));
    await read(createPassageCache({ bytes: 1024 * KIB, observer }), { rows });
    const events: unknown[] = [];
    const small = createPassageCache({
      bytes: 128 * KIB,
      observer: { onInsert: (entry) => events.push(entry), onEvict: (key) => events.push(key) },
    });
    const loaded = kept.filter((entry) => small.load(entry));
    expect(loaded.length).toBeGreaterThan(20);
    expect(loaded.length).toBeLessThan(kept.length);
    expect(events).toEqual([]);
    expect(small.load(kept[0]!)).toBe(false);
    const again = await read(small, { rows: rows.slice(0, 3) });
    expect(again).toEqual({
      values: rows.slice(0, 3).map(({ ids }) => bytesOf(ids)),
      missed: [false, false, false],
    });
  });
});

describe('one flight a key', () => {
  /** A computation that ends when the test says so. */
  const pending = (rows: readonly { readonly ids: Int32Array }[]) => {
    const gate = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    const calls: (readonly number[])[] = [];
    const compute: ComputePassages = async (missing) => {
      calls.push(missing);
      started.resolve();
      await gate.promise;
      return missing.map((i) => bytesOf(rows[i]!.ids));
    };
    return { gate, started: started.promise, calls, compute };
  };

  it('lets a second request wait for the first', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(1), row(2)];
    const owner = pending(rows);
    const first = read(cache, { rows, compute: owner.compute });
    await owner.started;
    const other = [row(2), row(3)];
    const late = pending(other);
    const second = read(cache, { rows: other, compute: late.compute });
    await late.started;
    late.gate.resolve();
    owner.gate.resolve();
    expect((await first).missed).toEqual([true, true]);
    expect(await second).toEqual({ values: other.map(({ ids }) => bytesOf(ids)), missed: [false, true] });
    expect(late.calls).toEqual([[1]]);
    expect(countsOf(cache)).toMatchObject({ hits: 1, misses: 3 });
  });

  it('lets a waiting request take over when the owner fails, and keeps the error from it', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(1)];
    const owner = pending(rows);
    const first = read(cache, { rows, compute: owner.compute });
    await owner.started;
    const waiters = [0, 1, 2].map(() => read(cache, { rows }));
    owner.gate.reject(new Error('the owner was cancelled'));
    await expect(first).rejects.toThrow('the owner was cancelled');
    const results = await Promise.all(waiters);
    for (const { values } of results) expect(values).toEqual([bytesOf(rows[0]!.ids)]);
    expect(results.filter(({ missed }) => missed[0])).toHaveLength(1);
  });

  it('does not wait in vain for ever: after two owners that failed it computes', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(1)];
    const failing: ComputePassages = async (missing) => {
      if (missing.length > 0) throw new Error('broken row');
      return [];
    };
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => read(cache, { rows, compute: failing })));
    expect(results.map(({ status }) => status)).toEqual(new Array(20).fill('rejected'));
    expect((await read(cache, { rows })).missed).toEqual([true]);
  });

  it('ends with its own deadline while it waits', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(1)];
    const owner = pending(rows);
    const first = read(cache, { rows, compute: owner.compute });
    await owner.started;
    const guard = async <T>(promise: Promise<T>): Promise<T> =>
      Promise.race([promise, Promise.reject(new Error('late'))]);
    await expect(read(cache, { rows, guard })).rejects.toThrow('late');
    owner.gate.resolve();
    expect((await first).missed).toEqual([true]);
  });

  it('does not wait for another share, whose turn may come later', async () => {
    const cache = createPassageCache({ bytes: 256 * KIB });
    const rows = [row(1)];
    const owner = pending(rows);
    const first = read(cache, { rows, compute: owner.compute, urgency: { share: 'shop' } });
    await owner.started;
    expect((await read(cache, { rows, urgency: { share: 'bank' } })).missed).toEqual([true]);
    owner.gate.resolve();
    expect((await first).missed).toEqual([true]);
  });

  it('does not wait for a less urgent request, nor for a much longer one', async () => {
    const cache = createPassageCache({ bytes: 1024 * KIB });
    const rows = [row(1)];
    const shadow = pending(rows);
    const first = read(cache, { rows, compute: shadow.compute, urgency: { lane: 2 } });
    await shadow.started;
    expect((await read(cache, { rows })).missed).toEqual([true]);
    expect((await read(cache, { rows, urgency: { lane: 2 } })).missed).toEqual([false]);
    shadow.gate.resolve();
    expect((await first).values).toEqual([bytesOf(rows[0]!.ids)]);

    const many = [row(2), ...Array.from({ length: 20 }, (_, i) => row(...new Array<number>(300).fill(i + 10)))];
    const long = pending(many);
    const second = read(cache, { rows: many, compute: long.compute });
    await long.started;
    expect((await read(cache, { rows: [row(2)] })).missed).toEqual([true]);
    long.gate.resolve();
    await second;
    expect(cache.stats().entries).toBe(22);
  });

  it('computes every distinct row once, in any interleaving of requests', async () => {
    const requests = fc.array(fc.array(fc.nat(8), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(requests, fc.scheduler(), async (names, scheduler) => {
        const cache = createPassageCache({ bytes: 256 * KIB });
        const computed: number[] = [];
        const results = names.map((request) => {
          const rows = request.map((name) => row(name, 1));
          const compute: ComputePassages = async (missing) => {
            computed.push(...missing.map((i) => request[i]!));
            await scheduler.schedule(Promise.resolve());
            return missing.map((i) => bytesOf(rows[i]!.ids));
          };
          return read(cache, { rows, compute });
        });
        const all = scheduler.waitFor(Promise.all(results));
        for (const [i, { values }] of (await all).entries())
          expect(values).toEqual(names[i]!.map((name) => bytesOf(Int32Array.of(name, 1))));
        expect(computed.length).toBe(new Set(computed).size);
      }),
      { numRuns: 100 },
    );
  });
});
