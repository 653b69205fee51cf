import { describe, expect, it } from 'vitest';
import type {
  AuditEntry,
  ExperimentStore,
  Exposure,
  Outcome,
  OutcomeStatus,
  StoredDefinition,
  UnitRow,
} from '../../src/experiments/records.ts';

let serial = 0;

/** An exposure nobody else has; times and names are the test's. */
export function exposure(over: Partial<Exposure> & Pick<Exposure, 'experiment' | 'unit' | 'arm'>): Exposure {
  return {
    requestId: `r${++serial}`,
    at: 1000,
    configHash: 'c0ffee',
    mode: 'split',
    unitKind: 'user',
    hashVersion: 2,
    models: { a: 'm@1' },
    forced: false,
    failed: false,
    latencyMs: 10,
    truncated: 0,
    items: [],
    ...over,
  };
}

const outcome = (over: Partial<Outcome>): Outcome => ({
  key: `k${++serial}`,
  at: 2000,
  metric: 'clicks',
  value: 1,
  ...over,
});

const add = async (store: ExperimentStore, one: Outcome): Promise<OutcomeStatus> =>
  (await store.addOutcomes([one]))[0]!;

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
}

const unitsOf = async (
  store: ExperimentStore,
  experiment: string,
  until?: number,
): Promise<Record<string, UnitRow>> => {
  const rows = await collect(store.units(experiment, { beforeMs: 500, ...(until === undefined ? {} : { until }) }));
  return Object.fromEntries(rows.map((row) => [row.unit, row]));
};

/** What every experiment store must do. `open` gives the same database each time. */
export function experimentStoreContract(name: string, open: () => Promise<ExperimentStore>): void {
  describe(`experiment store: ${name}`, () => {
    const withStore = (body: (store: ExperimentStore) => Promise<void>) => async () => {
      const store = await open();
      try {
        await body(store);
      } finally {
        await store.close();
      }
    };

    it(
      'sums outcomes by unit, whether they name the request or the unit',
      withStore(async (store) => {
        const first = exposure({ experiment: 'sums', unit: 'u1', arm: 'a' });
        const second = exposure({ experiment: 'sums', unit: 'u2', arm: 'b' });
        await store.addExposures([first, second, exposure({ experiment: 'sums', unit: 'u1', arm: 'a', at: 1500 })]);
        expect(await add(store, outcome({ requestId: first.requestId, value: 2 }))).toBe('stored');
        expect(await add(store, outcome({ unit: 'u1', value: 5 }))).toBe('stored');
        expect(await add(store, outcome({ unit: 'u2', metric: 'orders', value: 3.5 }))).toBe('stored');
        const units = await unitsOf(store, 'sums');
        expect(units.u1).toMatchObject({
          arm: 'a',
          firstAt: 1000,
          exposures: 2,
          sums: { clicks: 7 },
          before: {},
          crossed: false,
        });
        expect(units.u2).toMatchObject({ arm: 'b', exposures: 1, sums: { orders: 3.5 } });
      }),
    );

    it(
      'counts a key once',
      withStore(async (store) => {
        const e = exposure({ experiment: 'once', unit: 'o1', arm: 'a' });
        await store.addExposures([e, e]);
        expect(await add(store, outcome({ key: 'same', requestId: e.requestId }))).toBe('stored');
        expect(await add(store, outcome({ key: 'same', requestId: e.requestId, at: 2500 }))).toBe('duplicate');
        expect((await unitsOf(store, 'once')).o1).toMatchObject({ exposures: 1, sums: { clicks: 1 } });
      }),
    );

    it(
      'a key is one of its metric, and says so where it comes again with other content',
      withStore(async (store) => {
        const [e, f] = ['v1', 'v2'].map((unit) => exposure({ experiment: 'keyed', unit, arm: 'a' })) as [
          Exposure,
          Exposure,
        ];
        await store.addExposures([e, f]);
        const sent = { key: 'order 7', requestId: e.requestId, item: 2 };
        expect(await add(store, outcome(sent))).toBe('stored');
        expect(await add(store, outcome({ ...sent, metric: 'revenue', value: 12.5 }))).toBe('stored');
        const { item: _, ...without } = sent;
        const others = [{ ...sent, value: 99 }, { ...sent, requestId: f.requestId }, { ...sent, item: 1 }, without];
        for (const other of others) expect(await add(store, outcome(other))).toBe('conflict');
        expect(await add(store, outcome({ key: 'order 7', unit: 'v1' }))).toBe('conflict');
        const ofUnit = { key: 'visit', unit: 'v1' };
        const group = [ofUnit, ofUnit, { ...ofUnit, unit: 'v2' }].map(outcome);
        expect(await store.addOutcomes(group)).toEqual(['stored', 'duplicate', 'conflict']);
        const units = await unitsOf(store, 'keyed');
        expect(units.v1?.sums).toEqual({ clicks: 2, revenue: 12.5 });
        expect(units.v2?.sums).toEqual({});
      }),
    );

    it(
      'outcomes of its own requests are no covariates, whatever their time',
      withStore(async (store) => {
        const own = exposure({ experiment: 'own', unit: 'w1', arm: 'a', at: 10_000 });
        const second = exposure({ experiment: 'own', unit: 'w1', arm: 'a', at: 12_000 });
        const forced = exposure({ experiment: 'own', unit: 'w1', arm: 'b', at: 9_700, forced: true });
        const earlier = exposure({ experiment: 'earlier', unit: 'w1', arm: 'a', at: 9_600 });
        const beside = { ...own, experiment: 'beside', at: 9_999 };
        await store.addExposures([own, second, forced, earlier, beside]);
        for (const { requestId } of [own, second, forced]) await add(store, outcome({ requestId, at: 9_800 }));
        await add(store, outcome({ requestId: earlier.requestId, at: 9_650, value: 4 }));
        const { w1 } = await unitsOf(store, 'own');
        expect(w1).toMatchObject({ sums: { clicks: 2 }, before: { clicks: 4 } });
      }),
    );

    it(
      'an outcome is never earlier than the answer it names, nor its unit’s exposure within what a clock may be behind',
      withStore(async (store) => {
        const e = exposure({ experiment: 'clock', unit: 'x1', arm: 'a', at: 10_000 });
        await store.addExposures([e]);
        await add(store, outcome({ requestId: e.requestId, at: -86_400_000 }));
        await add(store, outcome({ unit: 'x1', at: 9_900, behindMs: 100, value: 10 }));
        await add(store, outcome({ unit: 'x1', at: 9_899, behindMs: 100, value: 100 }));
        expect((await unitsOf(store, 'clock')).x1).toMatchObject({ sums: { clicks: 11 }, before: { clicks: 100 } });
        expect((await unitsOf(store, 'clock', 10_000)).x1?.sums).toEqual({ clicks: 11 });
        const slices = await collect(store.slice('clock', { after: 9_999, until: 10_000 }));
        expect(slices).toEqual([{ unit: 'x1', exposures: 1, sums: { clicks: 11 } }]);
      }),
    );

    it(
      'refuses outcomes of requests and units it never saw',
      withStore(async (store) => {
        expect(await add(store, outcome({ requestId: 'nobody' }))).toBe('unknown');
        expect(await add(store, outcome({ unit: 'nobody' }))).toBe('unknown');
      }),
    );

    it(
      'takes what a unit did before its first exposure as covariate, within the window',
      withStore(async (store) => {
        await store.addExposures([exposure({ experiment: 'before', unit: 'b1', arm: 'a', at: 10_000 })]);
        await add(store, outcome({ unit: 'b1', at: 9_600, value: 4 }));
        await add(store, outcome({ unit: 'b1', at: 9_400, value: 100 }));
        await add(store, outcome({ unit: 'b1', at: 10_001, value: 1 }));
        expect((await unitsOf(store, 'before')).b1).toMatchObject({ before: { clicks: 4 }, sums: { clicks: 1 } });
      }),
    );

    it(
      'leaves forced exposures out and marks units that saw two arms',
      withStore(async (store) => {
        await store.addExposures([
          exposure({ experiment: 'crossed', unit: 'c1', arm: 'a', at: 1200 }),
          exposure({ experiment: 'crossed', unit: 'c1', arm: 'b' }),
          exposure({ experiment: 'crossed', unit: 'c2', arm: 'a', forced: true }),
        ]);
        const units = await unitsOf(store, 'crossed');
        expect(units.c1).toMatchObject({ crossed: true, firstArm: 'b' });
        expect(units.c2).toBeUndefined();
      }),
    );

    it(
      'shows the state at an earlier time',
      withStore(async (store) => {
        await store.addExposures([
          exposure({ experiment: 'time', unit: 't1', arm: 'a', at: 100 }),
          exposure({ experiment: 'time', unit: 't2', arm: 'a', at: 300 }),
        ]);
        await add(store, outcome({ unit: 't1', at: 150 }));
        await add(store, outcome({ unit: 't1', at: 250 }));
        expect(await unitsOf(store, 'time', 200)).toEqual({ t1: expect.objectContaining({ sums: { clicks: 1 } }) });
      }),
    );

    it(
      'gives clicked interleaved exposures with their teams',
      withStore(async (store) => {
        const items = [
          { digest: 'aa', index: 1, score: 0.5, team: 'a', ranks: { a: 0, b: 1 } },
          { digest: 'bb', index: 0, score: 0.25, team: 'b', ranks: { a: 1, b: 0 } },
        ];
        const e = exposure({ experiment: 'mixed', unit: 'i1', arm: 'interleaved', mode: 'interleave', items });
        await store.addExposures([
          e,
          exposure({ experiment: 'mixed', unit: 'i2', arm: 'interleaved', mode: 'interleave', items }),
        ]);
        await add(store, outcome({ requestId: e.requestId, item: 0 }));
        await add(store, outcome({ requestId: e.requestId, item: 0 }));
        const clicked = await collect(store.clicks('mixed', 'clicks'));
        expect(clicked).toEqual([{ requestId: e.requestId, unit: 'i1', at: 1000, items, clicks: new Map([[0, 2]]) }]);
      }),
    );

    it(
      'counts traffic with nearest-rank percentiles',
      withStore(async (store) => {
        await store.addExposures(
          Array.from({ length: 100 }, (_, i) =>
            exposure({ experiment: 'traffic', unit: `p${i}`, arm: 'a', latencyMs: i + 1, failed: i < 3 }),
          ),
        );
        expect(await store.traffic('traffic')).toEqual([
          // Of the 97 that were answered, 4 to 100 ms, the 49th and the 93rd.
          {
            arm: 'a',
            requests: 100,
            failed: 3,
            fallbacks: 0,
            byQuery: 0,
            firstAt: 1000,
            lastAt: 1000,
            p50Ms: 52,
            p95Ms: 96,
          },
        ]);
        expect(await store.traffic('traffic', 999)).toEqual([]);
      }),
    );

    it(
      'an arm’s latencies are those of what it answered itself',
      withStore(async (store) => {
        const seen = (arm: string, latencyMs: number, over: Partial<Exposure>) =>
          exposure({ experiment: 'latencies', unit: `l${++serial}`, arm, latencyMs, ...over });
        await store.addExposures([
          seen('a', 10, {}),
          seen('a', 900, { fallback: 'failed' }),
          seen('a', 1, { failed: true }),
          seen('b', 5, { fallback: 'guardrail' }),
        ]);
        const counts = { failed: 0, fallbacks: 1, byQuery: 0, firstAt: 1000, lastAt: 1000 };
        expect(await store.traffic('latencies')).toEqual([
          { ...counts, arm: 'a', requests: 3, failed: 1, p50Ms: 10, p95Ms: 10 },
          { ...counts, arm: 'b', requests: 1 },
        ]);
      }),
    );

    it(
      'tells which versions answered for each arm, and which arms a unit was assigned to',
      withStore(async (store) => {
        const seen = (at: number, arm: string, configHash: string, over: Partial<Exposure> = {}) =>
          exposure({ experiment: 'told', unit: 'z1', at, arm, configHash, models: { [arm]: 'm@1' }, ...over });
        await store.addExposures([
          seen(300, 'b', 'two', { models: { b: 'm@2' } }),
          seen(200, 'a', 'one'),
          seen(100, 'a', 'one'),
          seen(50, 'b', 'none', { forced: true }),
          seen(60, 'interleaved', 'none', { mode: 'interleave', unit: 'z2' }),
        ]);
        expect(await store.assignments('told', 'z1')).toEqual([
          { arm: 'a', configHash: 'one' },
          { arm: 'b', configHash: 'two' },
        ]);
        expect(await store.assignments('told', 'z2')).toEqual([]);
        const contents = await store.contents('told', 250);
        expect(contents.filter(({ mode }) => mode === 'split')).toEqual([
          { arm: 'a', mode: 'split', configHash: 'one', models: { a: 'm@1' }, requests: 2, firstAt: 100, lastAt: 200 },
        ]);
        expect((await store.contents('told')).at(-1)).toMatchObject({ models: { b: 'm@2' }, requests: 1 });
      }),
    );

    it(
      'averages shadow figures',
      withStore(async (store) => {
        await store.addExposures(
          [0.5, 1].map((tau, i) =>
            exposure({ experiment: 'dark', unit: `s${i}`, arm: 'a', mode: 'shadow', shadow: { b: { kendall: tau } } }),
          ),
        );
        expect(await store.shadow('dark')).toEqual({ b: { kendall: { mean: 0.75, requests: 2 } } });
      }),
    );

    it(
      'counts a shadowed request once, however often figures are added to it',
      withStore(async (store) => {
        const e = exposure({ experiment: 'added', unit: 's1', arm: 'a', mode: 'shadow' });
        const figures = (arm: string, kendall: number) => ({ ...e, items: [], shadow: { [arm]: { kendall } } });
        await store.addExposures([{ ...e, items: [{ digest: 'aa', index: 0, score: 1 }] }]);
        await add(store, outcome({ requestId: e.requestId }));
        await store.addExposures([figures('b', 0.5), figures('c', 1)]);
        // Written again after a failure that came too late to undo it.
        await store.addExposures([figures('b', 0.5)]);
        expect(await store.shadow('added')).toEqual({
          b: { kendall: { mean: 0.5, requests: 1 } },
          c: { kendall: { mean: 1, requests: 1 } },
        });
        expect((await unitsOf(store, 'added')).s1).toMatchObject({ exposures: 1, sums: { clicks: 1 } });
        expect(await store.traffic('added')).toMatchObject([{ arm: 'a', requests: 1 }]);
      }),
    );

    it(
      'pages through more units than one page holds',
      withStore(async (store) => {
        const many = Array.from({ length: 5200 }, (_, i) =>
          exposure({ experiment: 'many', unit: `m${String(i).padStart(5, '0')}`, arm: i % 2 ? 'a' : 'b' }),
        );
        await store.addExposures(many);
        expect(Object.keys(await unitsOf(store, 'many'))).toHaveLength(5200);
      }),
    );

    it(
      'stores many outcomes at once and says of each what became of it',
      withStore(async (store) => {
        const exposures = Array.from({ length: 150 }, (_, i) =>
          exposure({ experiment: 'bulk', unit: `bulk${i}`, arm: 'a' }),
        );
        await store.addExposures(exposures);
        const first = outcome({ requestId: exposures[0]!.requestId });
        const outcomes = [
          ...exposures.map(({ requestId }) => outcome({ requestId })),
          ...exposures.map(({ unit }) => outcome({ unit, metric: 'orders' })),
          ...[first, first, outcome({ requestId: 'nobody' }), outcome({ unit: 'nobody' })],
        ];
        const statuses = await store.addOutcomes(outcomes);
        expect(statuses.slice(0, 301).every((status) => status === 'stored')).toBe(true);
        expect(statuses.slice(301)).toEqual(['duplicate', 'unknown', 'unknown']);
        expect((await unitsOf(store, 'bulk')).bulk149).toMatchObject({ sums: { clicks: 1, orders: 1 } });
      }),
    );

    it(
      'gives slices of time that add up to the whole',
      withStore(async (store) => {
        const early = exposure({ experiment: 'slices', unit: 'sl1', arm: 'a', at: 100 });
        await store.addExposures([
          early,
          exposure({ experiment: 'slices', unit: 'sl1', arm: 'a', at: 250 }),
          exposure({ experiment: 'slices', unit: 'sl2', arm: 'b', at: 300 }),
          exposure({ experiment: 'slices', unit: 'sl2', arm: 'b', at: 350, forced: true }),
        ]);
        await store.addOutcomes([
          outcome({ requestId: early.requestId, at: 150 }),
          outcome({ unit: 'sl1', at: 240, value: 2 }),
          outcome({ unit: 'sl2', at: 260, value: 9 }),
          outcome({ unit: 'sl2', at: 400, value: 4 }),
        ]);
        const slices = await Promise.all(
          [
            [0, 200],
            [200, 400],
          ].map(([after, until]) => collect(store.slice('slices', { after: after!, until: until! }))),
        );
        expect(slices[0]).toEqual([{ unit: 'sl1', exposures: 1, sums: { clicks: 1 } }]);
        expect(slices[1]!.toSorted((a, b) => (a.unit < b.unit ? -1 : 1))).toEqual([
          { unit: 'sl1', exposures: 1, sums: { clicks: 2 } },
          { unit: 'sl2', exposures: 1, sums: { clicks: 4 } },
        ]);
      }),
    );

    const definition = (name: string, configHash: string): StoredDefinition => ({
      ...{ name, configHash, source: 'api', at: 5, who: 'ada', definition: `{"name":"${name}"}` },
    });
    const change = (over: Partial<AuditEntry>): AuditEntry => ({
      ...{ at: 5, who: 'ada', experiment: 'kept', action: 'created', configHash: 'abc', diff: '+ name' },
      ...over,
    });

    it(
      'keeps definitions with their audits, and removes them',
      withStore(async (store) => {
        await store.putDefinition(definition('kept', 'abc'), change({}));
        await store.putDefinition(definition('kept', 'def'), change({ at: 6, action: 'changed', configHash: 'def' }));
        expect((await store.definitions()).filter(({ name }) => name === 'kept')).toEqual([definition('kept', 'def')]);
        await store.removeDefinition('kept', change({ at: 7, action: 'removed', configHash: 'def' }));
        expect((await store.definitions()).filter(({ name }) => name === 'kept')).toEqual([]);
        expect((await store.audits('kept')).map(({ action }) => action)).toEqual(['created', 'changed', 'removed']);
      }),
    );

    it(
      'writes a change once however many servers report it, and again when it comes again',
      withStore(async (store) => {
        const hashes = ['1', '1', '2', '2', '1'];
        for (const [i, configHash] of hashes.entries())
          await store.audit(change({ experiment: 'twice', at: i, action: 'changed', configHash }));
        const trip = change({ experiment: 'twice', at: 9, action: 'tripped', configHash: '1', diff: 'arm b: errors' });
        for (const at of [9, 10]) await store.audit({ ...trip, at });
        await store.audit({ ...trip, at: 11, configHash: '2' });
        expect((await store.audits('twice')).map(({ at, configHash }) => [at, configHash])).toEqual([
          [0, '1'],
          [2, '2'],
          [4, '1'],
          [9, '1'],
          [11, '2'],
        ]);
      }),
    );

    it(
      'keeps audits and the secret across openings',
      withStore(async (store) => {
        const entry = {
          at: 5,
          who: 'ada',
          experiment: 'audited',
          action: 'created' as const,
          configHash: 'abc',
          diff: '+ name',
        };
        await store.audit(entry);
        const again = await open();
        expect(await again.audits('audited')).toEqual([entry]);
        expect(await again.secret()).toBe(await store.secret());
        expect(await store.secret()).toMatch(/^[0-9a-f]{64}$/);
        await again.close();
      }),
    );

    it(
      'forgets what is older than the retention',
      withStore(async (store) => {
        await store.addExposures([
          exposure({ experiment: 'old', unit: 'x1', arm: 'a', at: -500 }),
          exposure({ experiment: 'old', unit: 'x2', arm: 'a', at: 500 }),
        ]);
        expect(await store.prune(0)).toBe(1);
        expect(Object.keys(await unitsOf(store, 'old'))).toEqual(['x2']);
      }),
    );

    it(
      "forgets a day's worth at once, of exposures and of outcomes, whatever the clock says",
      withStore(async (store) => {
        const day = 86_400_000;
        const days = [-40, -39.5, -38.9, -20, -1].map((n, i) =>
          exposure({ experiment: 'days', unit: `d${i}`, arm: 'a', at: n * day }),
        );
        await store.addExposures(days);
        await store.addOutcomes(days.map(({ requestId, at }) => outcome({ requestId, at: at + day })));
        const left = async () => Object.entries(await unitsOf(store, 'days')).map(([unit, { sums }]) => [unit, sums]);
        const clicked = { clicks: 1 };
        expect(await store.prune(100 * day)).toBe(4);
        expect(await left()).toEqual([2, 3, 4].map((i) => [`d${i}`, clicked]));
        expect(await store.prune(-38 * day)).toBe(1);
        expect(await left()).toEqual([3, 4].map((i) => [`d${i}`, clicked]));
      }),
    );
  });
}
