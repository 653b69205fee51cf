import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { analyze } from '../../../src/experiments/analysis/analyze.ts';
import { ReportDesk } from '../../../src/experiments/analysis/report-desk.ts';
import { checkExperiment } from '../../../src/experiments/definitions/definition.ts';
import type { ExperimentStore, Exposure, Outcome } from '../../../src/experiments/records.ts';
import { openStore } from '../../../src/experiments/store/store.ts';
import { createRandom, type Random } from '../../../src/util/random.ts';
import { exposure } from '../../contracts/experiment-store.ts';
import { type PostgresServer, postgresPrograms, startPostgres } from '../../support/postgres.ts';

const definition = (name: string) =>
  checkExperiment(
    {
      name,
      arms: [
        { name: 'a', model: 'm' },
        { name: 'b', model: 'n', weight: 2 },
      ],
      control: 'a',
      metrics: [
        { name: 'clicks' },
        { name: 'ctr', kind: 'ratio', numerator: 'clicks', denominator: 'exposures' },
        { name: 'money', kind: 'ratio', denominator: 'clicks', covariate: 'clicks' },
      ],
    },
    'test',
  );

/** Compares figures; digits beyond the eleventh may differ. */
function expectClose(seen: unknown, wanted: unknown, path = 'report'): void {
  if (typeof wanted === 'number' && typeof seen === 'number' && Number.isFinite(wanted)) {
    expect(Math.abs(seen - wanted), `${path}: ${seen} for ${wanted}`).toBeLessThanOrEqual(
      1e-11 * Math.max(1, Math.abs(wanted)),
    );
    return;
  }
  if (typeof wanted !== 'object' || wanted === null || typeof seen !== 'object' || seen === null) {
    expect(seen, path).toEqual(wanted);
    return;
  }
  expect(Object.keys(seen), path).toEqual(Object.keys(wanted));
  const fields = new Map(Object.entries(seen));
  for (const [key, value] of Object.entries(wanted)) expectClose(fields.get(key), value, `${path}.${key}`);
}

const step = fc.record({
  kind: fc.constantFrom(
    'exposures',
    'exposures',
    'outcomes',
    'outcomes',
    'unit outcomes',
    'report',
    'report',
    'prune',
    'deploy',
  ),
  count: fc.integer({ min: 1, max: 12 }),
  seed: fc.integer({ min: 0, max: 1e9 }),
});

let serial = 0;

/** Random exposures and outcomes of few units, with everything that reports tell apart. */
class World {
  readonly name = `trial${++serial}`;
  readonly requests: string[] = [];
  now = 1_000_000;
  version = 1;

  exposure(random: Random): Exposure {
    const unit = random.below(15);
    const isOther = random.below(12) === 0;
    this.now += random.below(20);
    const one = exposure({
      experiment: isOther ? `${this.name}-other` : this.name,
      unit: `u${unit}`,
      arm: (unit + (random.below(10) === 0 ? 1 : 0)) % 3 === 0 ? 'a' : 'b',
      // Servers write a little later, and not in the order of time.
      at: this.now - random.below(60),
      configHash: ['c1', 'c2'][random.below(2)]!,
      unitKind: random.below(9) === 0 ? 'query' : 'user',
      models: random.below(5) === 0 ? {} : { a: 'm@1', b: `n@${this.version}` },
      forced: random.below(9) === 0,
      failed: random.below(9) === 0,
      latencyMs: random.next() * 100,
      ...(random.below(9) === 0 ? { fallback: 'failed' } : {}),
    });
    this.requests.push(one.requestId);
    return one;
  }

  outcome(random: Random, byUnit: boolean): Outcome {
    return {
      key: `${this.name} ${++serial}`,
      at: this.now - random.below(300),
      metric: ['clicks', 'money'][random.below(2)]!,
      value: Math.round(random.next() * 1000) / 100,
      ...(byUnit || this.requests.length === 0
        ? { unit: `u${random.below(20)}` }
        : { requestId: this.requests[random.below(this.requests.length)]! }),
    };
  }
}

/** What holds for every store: figures that are kept equal those that are read as a whole. */
function keptFiguresContract(name: string, open: () => Promise<ExperimentStore>, runs: number): void {
  it(`${name}: after any exposures, outcomes and removals`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
        const stores = [await open(), await open()] as const;
        try {
          const world = new World();
          const experiment = definition(world.name);
          // A desk that has seen everything, on a connection that does not write.
          const desk = new ReportDesk(stores[1]);
          for (const { kind, count, seed } of [...steps, { kind: 'report', count: 1, seed: 1 }]) {
            const random = createRandom(seed);
            const some = <T>(make: () => T) => Array.from({ length: count }, make);
            if (kind === 'exposures') await stores[0].addExposures(some(() => world.exposure(random)));
            else if (kind === 'prune') await stores[0].prune(world.now - random.below(400));
            else if (kind === 'deploy') world.version++;
            else if (kind === 'report')
              for (const options of [{}, { since: 0 }])
                expectClose(await desk.report(experiment, options), await analyze(stores[0], experiment, options));
            else await stores[0].addOutcomes(some(() => world.outcome(random, kind === 'unit outcomes')));
          }
        } finally {
          for (const store of stores) await store.close();
        }
      }),
      { numRuns: runs, seed: 5 },
    );
  });
}

const folder = mkdtempSync(join(tmpdir(), 'winnow-live-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('kept figures equal those read as a whole', () => {
  keptFiguresContract('SQLite', () => openStore(join(folder, 'experiments.sqlite'), { readApart: false }), 15);

  it('with thousands of units, of which many change again and again', async () => {
    const store = await openStore(':memory:');
    const experiment = definition('large');
    const desk = new ReportDesk(store);
    const random = createRandom(9);
    for (let round = 0; round < 5; round++) {
      const exposures = Array.from({ length: 2000 }, () => {
        const unit = random.below(3000);
        return exposure({
          experiment: 'large',
          unit: `u${unit}`,
          arm: unit % 3 === 0 ? 'a' : 'b',
          at: 1000 * round + unit,
        });
      });
      await store.addExposures(exposures);
      await store.addOutcomes(
        exposures.map(({ requestId }, i) => ({
          key: `large ${round} ${i}`,
          at: 1000 * round + 5000,
          metric: ['clicks', 'money'][i % 2]!,
          value: random.next(),
          requestId,
        })),
      );
      expectClose(await desk.report(experiment, {}), await analyze(store, experiment));
    }
    await store.close();
  });

  it('where a first exposure is written late: the sample ratio follows it', async () => {
    const store = await openStore(':memory:');
    const experiment = definition('late-first');
    const desk = new ReportDesk(store);
    const write = (count: number, arm: string, at: number) =>
      store.addExposures(
        Array.from({ length: count }, (_, i) => exposure({ experiment: 'late-first', unit: `u${i}`, arm, at: at + i })),
      );
    await write(40, 'a', 1000);
    const before = await desk.report(experiment, {});
    expect(before.sampleRatio!.alwaysValidP).toBeLessThan(0.01);
    // Another server had exposed most of them to the other arm before.
    await write(30, 'b', 500);
    const after = await desk.report(experiment, {});
    expect(after.sampleRatio!.arms.map(({ units }) => units)).toEqual([10, 30]);
    expectClose(after, await analyze(store, experiment));
    await store.close();
  });

  /** Opens a store with three units, and a desk whose reads of units are counted. */
  async function openCounted() {
    const store = await openStore(':memory:');
    await store.addExposures(['u1', 'u2', 'u3'].map((unit) => exposure({ experiment: 'still', unit, arm: 'a' })));
    const counted = { reads: 0 };
    const desk = new ReportDesk({
      ...store,
      units: (name, range) => {
        if (!range.among || range.among.length > 0) counted.reads++;
        return store.units(name, range);
      },
    });
    return { store, desk, counted, experiment: definition('still') };
  }

  it('an unchanged experiment is not read again', async () => {
    const { store, desk, counted, experiment } = await openCounted();
    const [first, second] = [await desk.report(experiment, {}), await desk.report(experiment, {})];
    expect(second).toEqual(first);
    expect(counted.reads).toBe(1);
    await store.close();
  });

  it('a hundred are kept: one more takes the place of the one that was read longest ago', async () => {
    const { store, desk, counted, experiment } = await openCounted();
    for (let since = 0; since < 101; since++) await desk.report(experiment, { since });
    expect(counted.reads).toBe(101);
    await desk.report(experiment, { since: 100 });
    expect(counted.reads).toBe(101);
    await desk.report(experiment, { since: 0 });
    expect(counted.reads).toBe(102);
    await store.close();
  });
});

describe('whole readings', () => {
  const interleaved = checkExperiment({ ...definition('shown'), mode: 'interleave', when: undefined }, 'test');
  const limits = { burstMs: 0, smallRequests: 0 };
  const add = (store: ExperimentStore, unit: string, mode: Exposure['mode'] = 'interleave') =>
    store.addExposures([
      exposure({ experiment: 'shown', unit, arm: 'a', at: serial, mode }),
      exposure({ experiment: 'shown', unit: `${unit}b`, arm: 'b', at: ++serial, mode }),
    ]);

  it('are limited: then the last one is given again, and says so', async () => {
    const store = await openStore(':memory:');
    await add(store, 'u1');
    const desk = new ReportDesk(store, limits);
    const first = await desk.report(interleaved, {});
    await add(store, 'u2');
    const second = await desk.report(interleaved, {});
    expect(second.warnings[0]).toMatch(
      /^figures as of 20\d\d-.*Z: reading all of them again may take 0\.3 % of the time$/,
    );
    expect(second).toEqual({ ...first, warnings: [second.warnings[0], ...first.warnings] });
    // Those that are asked for by a time are read.
    const asked = await desk.report(interleaved, { since: 0 });
    expect(asked.to).toBeGreaterThan(second.to!);
    await store.close();
  });

  it('do not hold up what is kept; a series says how old it is', async () => {
    const store = await openStore(':memory:');
    const split = definition('shown');
    await add(store, 'u1', 'split');
    const desk = new ReportDesk(store, limits);
    await desk.report(split, {});
    const options = { points: 3, now: serial + 1000 };
    const series = await desk.series(split, options);
    expect(series.asOf).toBeUndefined();
    await add(store, 'u2', 'split');
    expect(await desk.series(split, options)).toEqual({ ...series, asOf: expect.any(Number) });
    expectClose(await desk.report(split, {}), await analyze(store, split));
    await store.close();
  });

  it('of small experiments are not limited', async () => {
    const store = await openStore(':memory:');
    await add(store, 'u1');
    const desk = new ReportDesk(store, { burstMs: 0 });
    for (let i = 2; i < 5; i++) {
      await add(store, `u${i}`);
      expectClose(await desk.report(interleaved, {}), await analyze(store, interleaved));
    }
    await store.close();
  });
});

const programs = postgresPrograms();
describe.skipIf(!programs)("kept figures with PostgreSQL (needs Debian's package postgresql)", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres(programs!);
  });
  afterAll(() => server.stop());

  keptFiguresContract('two servers', () => openStore(server.url), 4);

  it('an exposure whose transaction ends after later ones is counted once', async () => {
    const store = await openStore(server.url);
    const experiment = definition('late');
    const desk = new ReportDesk(store);
    const requests = async () => (await desk.report(experiment, {})).arms.map((arm) => arm.requests);
    await store.addExposures([exposure({ experiment: 'late', unit: 'u1', arm: 'a' })]);
    expect(await requests()).toEqual([1, 0]);
    const late = new pg.Client({ connectionString: server.url });
    await late.connect();
    await late.query('BEGIN');
    await late.query(`INSERT INTO winnow_exposures (request_id, experiment, at, config_hash, mode, unit_kind, unit, hash_version, arm, models, forced,
      failed, latency_ms, truncated, items) VALUES ('late1', 'late', 900, 'c', 'split', 'user', 'u9', 2, 'b', '{}', 0, 0, 5, 0, '[]')`);
    await store.addExposures([exposure({ experiment: 'late', unit: 'u2', arm: 'a' })]);
    expect(await requests()).toEqual([2, 0]);
    await store.addExposures([exposure({ experiment: 'late', unit: 'u3', arm: 'a' })]);
    expect(await requests()).toEqual([3, 0]);
    await late.query('COMMIT');
    await late.end();
    expect(await requests()).toEqual([3, 1]);
    expectClose(await desk.report(experiment, {}), await analyze(store, experiment));
    await store.close();
  });

  it('a database of another server, whose transactions had larger numbers, is read', async () => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query("UPDATE winnow_exposures SET tx = '999999999999'");
    await client.end();
    const store = await openStore(server.url);
    const desk = new ReportDesk(store);
    const experiment = definition('late');
    for (const unit of ['v1', 'v2']) {
      await store.addExposures([exposure({ experiment: 'late', unit, arm: 'b', at: 2000 })]);
      expectClose(await desk.report(experiment, {}), await analyze(store, experiment));
    }
    await store.close();
  });
});
