import { afterEach, describe, expect, it } from 'vitest';
import { busyUnit, NO_LOAD, namelessRequests, withUnit } from '../../../src/experiments/analysis/unit-warnings.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

const loadOf = (exposures: readonly number[]) =>
  exposures.reduce((load, count, i) => withUnit(load, { unit: `u${i}`, exposures: count, arm: 'b' }), NO_LOAD);

const ones = (count: number) => new Array<number>(count).fill(1);

describe('a unit that makes most requests', () => {
  it.each([
    [[...ones(150), 150], true],
    [[150, ...ones(150)], true],
    [[...ones(400), 60], true],
    [[500], true],
    // Few requests, a small share, or units that all make many.
    [[...ones(10), 40], false],
    [[...ones(2000), 200], false],
    [[90, 60, 80], false],
    [[], false],
  ])('%#', (exposures, isReported) => {
    const warnings = busyUnit({ unit: 'user' }, loadOf(exposures));
    expect(warnings.length).toBe(isReported ? 1 : 0);
  });

  it('is described', () => {
    expect(busyUnit({ unit: 'user' }, loadOf([...ones(100), 100]))[0]).toMatch(
      /^one unit made 100 of 200 requests \(50\.0 %\), in arm b: an id that many clients share/,
    );
    expect(busyUnit({ unit: 'query' }, loadOf([...ones(100), 100]))[0]).toContain('a query that is sent very often');
  });

  it('requests without an id are reported from 1 % on, unless queries are the units', () => {
    const traffic = [
      { requests: 500, byQuery: 5 },
      { requests: 500, byQuery: 6 },
    ];
    expect(namelessRequests({ unit: 'session' }, traffic)).toEqual([
      '11 of 1000 requests (1.1 %) had no session id, or one that counts as none: their query is the unit',
    ]);
    expect(namelessRequests({ unit: 'query' }, traffic)).toEqual([]);
    expect(namelessRequests({ unit: 'user' }, [{ requests: 1000, byQuery: 9 }])).toEqual([]);
    expect(namelessRequests({ unit: 'user' }, [])).toEqual([]);
  });
});

describe('ids in an experiment', () => {
  let lab: Lab;
  afterEach(() => lab.close());

  it('one that half of the requests have is reported, whatever it is', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    for (let i = 0; i < 80; i++) {
      await lab.ask(`user ${i}`, [1, 2]);
      await lab.ask('device-id-not-set', [1, 2]);
    }
    const { warnings, arms } = await lab.api.report('trial');
    expect(arms.reduce((sum, { units }) => sum + units, 0)).toBe(81);
    expect(warnings[0]).toContain('one unit made 80 of 160 requests (50.0 %)');
  });

  it('those that count as none make no unit; requests fall back to the session, then to the query', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    const placeholders = ['undefined', 'NULL', ' null ', '0', 'Anonymous', '00000000-0000-0000-0000-000000000000', ' '];
    for (const [i, user] of placeholders.entries()) await lab.ask(user, [1, 2], { query: `query ${i}` });
    for (const unit of ['undefined', 'null'])
      await lab.ask('u1', [1, 2], { subject: { unit, user: 'u1', session: 's1' } });
    await lab.ask('undefined', [1, 2], { subject: { user: 'undefined', session: 's1' } });
    await lab.ask('u2', [1, 2]);
    const { warnings, arms } = await lab.api.report('trial');
    // Seven queries, the users u1 and u2, and the session.
    expect(arms.reduce((sum, { units }) => sum + units, 0)).toBe(10);
    expect(warnings).toContainEqual(expect.stringContaining('7 of 11 requests (63.6 %) had no user id'));
    expect(lab.reported.placeholders.length).toBe(10);
    expect(lab.reported.placeholders[1]).toEqual({ experiment: 'trial', id: 'null' });
  });

  it('the list is a setting; outcomes of such an id are unknown', async () => {
    lab = await openLab(MODELS, { placeholderIds: ['Nobody'] });
    await lab.api.put('trial', SPLIT, 'ada');
    for (const user of ['nobody', 'undefined']) await lab.ask(user, [1, 2]);
    const statuses = await lab.api.addOutcomes([
      { unit: 'nobody', metric: 'clicks' },
      { unit: 'undefined', metric: 'clicks' },
    ]);
    expect(statuses.map(({ status }) => status)).toEqual(['unknown', 'stored']);
  });

  it('the same query gets the same arm with a placeholder as without any id', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    for (let i = 0; i < 20; i++) {
      const [with_, without] = [
        await lab.ask('undefined', [1, 2], { query: `q${i}` }),
        await lab.ask(undefined, [1, 2], { query: `q${i}` }),
      ];
      expect(with_.experiment).toEqual(without.experiment);
    }
  });
});
