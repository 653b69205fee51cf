import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { bucketRanges, unitPoint } from '../../../src/experiments/assignment/buckets.ts';
import { type Lab, LabClock, MODELS, openLab, SPLIT } from '../lab.ts';

let lab: Lab;
afterEach(() => lab.close());

const open = async (definitions: Readonly<Record<string, object>>, clock?: LabClock) => {
  lab = await openLab(MODELS, clock ? { clock } : {});
  for (const [name, definition] of Object.entries(definitions)) await lab.api.put(name, definition, 'ada');
};

/** The arm GrowthBook's SDK would give a unit. */
const expected = (seed: string, unit: string, coverage = 1) => {
  const point = unitPoint(seed, unit, 2);
  return ['a', 'b'].find((_, i) => {
    const [from, to] = bucketRanges([0.5, 0.5], coverage)[i]!;
    return point >= from && point < to;
  });
};

const users = Array.from({ length: 60 }, (_, i) => `user-${i}`);

describe('assignment', () => {
  it('gives every user the arm of the hash, in answer and exposure, every time', async () => {
    await open({ trial: SPLIT });
    for (const user of [...users, ...users]) {
      const answer = await lab.ask(user, [1, 2, 3]);
      const arm = expected('trial', user);
      expect(answer.experiment).toEqual({ name: 'trial', arm });
      expect(answer.model).toBe(arm === 'a' ? 'up' : 'down');
    }
    const { arms } = await lab.api.report('trial');
    expect(arms.map(({ units, requests }) => [units, requests])).toEqual(
      ['a', 'b'].map((arm) => {
        const own = users.filter((user) => expected('trial', user) === arm).length;
        return [own, 2 * own];
      }),
    );
  });

  it('leaves out units outside the coverage; raising it moves no unit', async () => {
    await open({ trial: { ...SPLIT, coverage: 0.4, hash: { seed: 'seed' } } });
    for (const user of users) expect((await lab.ask(user, [1, 2])).experiment?.arm).toBe(expected('seed', user, 0.4));
    await lab.api.put('trial', { ...SPLIT, coverage: 0.9, hash: { seed: 'seed' } }, 'ada');
    for (const user of users) {
      const before = expected('seed', user, 0.4);
      const now = (await lab.ask(user, [1, 2])).experiment?.arm;
      expect(now).toBe(expected('seed', user, 0.9));
      if (before) expect(now).toBe(before);
    }
  });

  it('weights need not add up to 1', async () => {
    const arms = [
      { name: 'a', model: 'up', weight: 30 },
      { name: 'b', model: 'down', weight: 10 },
    ];
    await open({ trial: { ...SPLIT, arms } });
    for (const user of users)
      expect((await lab.ask(user, [1])).experiment?.arm).toBe(unitPoint('trial', user, 2) < 0.75 ? 'a' : 'b');
  });

  it('experiments with disjoint shares of a namespace exclude each other', async () => {
    const half = (from: number, to: number) => ({ ...SPLIT, namespace: { name: 'ranking', range: [from, to] } });
    await open({ first: half(0, 0.5), second: half(0.5, 1) });
    const seen = new Map<string, number>();
    for (const user of users) {
      const name = (await lab.ask(user, [1])).experiment!.name;
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    expect([...seen.values()].reduce((a, b) => a + b)).toBe(users.length);
    expect(seen.size).toBe(2);
  });

  it('the first experiment that takes a request has it', async () => {
    await open({ b: SPLIT, a: { ...SPLIT, coverage: 0.3 } });
    for (const user of users)
      expect((await lab.ask(user, [1])).experiment?.name).toBe(expected('a', user, 0.3) ? 'a' : 'b');
  });
});

describe('the unit', () => {
  const decide = (more: object, definition: object = SPLIT) =>
    open({ trial: definition }).then(() =>
      lab.service.decide({ requestId: 'r', query: ' What  IS it?', passages: ['1'], ...more }),
    );

  it.each([
    ['x-winnow-unit before all', {}, { unit: 'u', user: 'v', session: 's' }, { kind: 'user', id: 'u' }],
    ['then the user', {}, { user: 'v', session: 's' }, { kind: 'user', id: 'v' }],
    ['then the session', {}, { session: 's' }, { kind: 'session', id: 's' }],
    [
      'by session: the session before the user',
      { unit: 'session' },
      { user: 'v', session: 's' },
      { kind: 'session', id: 's' },
    ],
    [
      'by query: nothing else counts',
      { unit: 'query' },
      { unit: 'u' },
      { kind: 'query', id: expect.stringMatching(/^query:[0-9a-f]{32}$/) },
    ],
    ['without any: the query', {}, {}, { kind: 'query', id: expect.stringMatching(/^query:/) }],
  ])('%s', async (_name, change, subject, unit) => {
    const decision = await decide({ subject }, { ...SPLIT, ...change });
    expect(decision?.answering?.unit).toEqual(unit);
  });

  it('white space and case do not make another query', async () => {
    const one = await decide({ subject: {} });
    const other = await lab.service.decide({ requestId: 'r', query: 'what is IT?', passages: ['1'], subject: {} });
    expect(other?.answering?.unit).toEqual(one?.answering?.unit);
  });

  it('its id is stored nowhere', async () => {
    await open({ trial: SPLIT });
    await lab.ask('alice@example.org', [1]);
    await lab.api.addOutcomes([{ unit: 'alice@example.org', metric: 'clicks' }]);
    const store = await lab.service.store();
    const units: string[] = [];
    for await (const { unit } of store.units('trial', { beforeMs: 0 })) units.push(unit);
    expect(units).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
    for (const file of readdirSync(lab.folder))
      expect(readFileSync(`${lab.folder}/${file}`).includes('alice@example.org')).toBe(false);
  });
});

describe('targeting', () => {
  const armOf = async (more: object) => (await lab.ask('user-1', [1, 2], more)).experiment?.arm;

  it('not a request that names an exact version', async () => {
    await open({ trial: SPLIT });
    expect(await armOf({ model: 'up@1' })).toBeUndefined();
    expect(await armOf({ model: 'up' })).toBe(expected('trial', 'user-1'));
  });

  it('not one that asks for another model; `when.model` names which', async () => {
    await open({ trial: SPLIT });
    expect(await armOf({ model: 'down' })).toBeUndefined();
    await lab.api.put('trial', { ...SPLIT, when: { model: 'down' } }, 'ada');
    expect(await armOf({ model: 'down' })).toBeDefined();
    expect(await armOf({ model: 'up' })).toBeUndefined();
    // The default model is `up`, so a request that names none does not mean `down`.
    expect(await armOf({})).toBeUndefined();
  });

  it('only requests of the key and with the headers asked for', async () => {
    await open({ trial: { ...SPLIT, when: { key: 'shop', header: { 'X-Market': 'de' } } } });
    const subject = { user: 'user-1', key: 'shop', headers: { 'x-market': 'de' } };
    expect(await armOf({ subject })).toBeDefined();
    expect(await armOf({ subject: { ...subject, key: 'other' } })).toBeUndefined();
    expect(await armOf({ subject: { ...subject, headers: { 'x-market': 'fr' } } })).toBeUndefined();
    expect(await armOf({ subject: { user: 'user-1', key: 'shop' } })).toBeUndefined();
  });

  it('takes no request before the start, after the end, or while it is disabled', async () => {
    const clock = new LabClock(Date.parse('2026-11-01T00:00:00Z'));
    await open({ trial: { ...SPLIT, start: '2026-11-02T00:00:00Z', end: '2026-11-03T00:00:00Z' } }, clock);
    expect([lab.api.get('trial').status, await armOf({})]).toEqual(['scheduled', undefined]);
    clock.advance(86_400_000);
    expect([lab.api.get('trial').status, await armOf({})]).toEqual(['running', expected('trial', 'user-1')]);
    clock.advance(86_400_000);
    expect([lab.api.get('trial').status, await armOf({})]).toEqual(['ended', undefined]);
    await lab.api.put('trial', { ...SPLIT, enabled: false }, 'ada');
    expect([lab.api.get('trial').status, await armOf({})]).toEqual(['disabled', undefined]);
  });

  it('a forced arm answers any unit, is flagged and left out of the analysis', async () => {
    await open({ other: { ...SPLIT, coverage: 0 }, trial: { ...SPLIT, enabled: false } });
    for (const forcedArm of ['b', 'trial/b'])
      expect((await lab.ask(undefined, [1, 2], { subject: { user: 'u', forcedArm } })).experiment).toEqual({
        name: forcedArm === 'b' ? 'other' : 'trial',
        arm: 'b',
      });
    expect(lab.reported.exposures.map(({ forced }) => forced)).toEqual([true, true]);
    const { arms } = await lab.api.report('trial');
    expect(arms.map(({ units, requests }) => [units, requests])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    // A name that no arm has forces nothing.
    expect((await lab.ask('u', [1], { subject: { user: 'u', forcedArm: 'z' } })).experiment).toBeUndefined();
  });
});

describe('when an arm cannot answer', () => {
  it('control does, and the exposure says why', async () => {
    const arms = [
      { name: 'a', model: 'up' },
      { name: 'b', model: 'gone' },
    ];
    await open({ trial: { ...SPLIT, arms } });
    const user = users.find((one) => expected('trial', one) === 'b')!;
    const answer = await lab.ask(user, [1, 3, 2]);
    expect(answer).toMatchObject({ model: 'up', experiment: { name: 'trial', arm: 'a' } });
    expect(answer.ranking.map(({ index }) => index)).toEqual([1, 2, 0]);
    expect(lab.reported.exposures).toEqual([
      { experiment: 'trial', arm: 'b', forced: false, fallback: 'missing', code: 'unknown_model' },
    ]);
    const { arms: seen } = await lab.api.report('trial');
    // The unit counts for the arm it was assigned to.
    expect(seen.map(({ units, fallbacks }) => [units, fallbacks])).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });
});
