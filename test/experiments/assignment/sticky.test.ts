import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { armAt, bucketRanges } from '../../../src/experiments/assignment/buckets.ts';
import { changeEffects, movedShare } from '../../../src/experiments/assignment/change-effects.ts';
import { prepareExperiment } from '../../../src/experiments/assignment/prepared-experiment.ts';
import { StickyDecider } from '../../../src/experiments/assignment/sticky.ts';
import { checkExperiment } from '../../../src/experiments/definitions/definition.ts';
import { type Lab, LabClock, MODELS, openLab, SPLIT } from '../lab.ts';

const open: Lab[] = [];
afterEach(async () => {
  for (const lab of open.splice(0).reverse()) await lab.close();
});
const openOne = async (options = {}) => {
  const lab = await openLab(MODELS, options);
  open.push(lab);
  return lab;
};

const weights = (a: number, b: number) => SPLIT.arms.map((arm, i) => ({ ...arm, weight: i === 0 ? a : b }));
const USERS = Array.from({ length: 200 }, (_, i) => `user ${i}`);

async function armsOf(lab: Lab): Promise<(string | undefined)[]> {
  const arms = [];
  for (const [i, user] of USERS.entries())
    arms.push((await lab.ask(user, [1, 2], { requestId: `${lab.clock.now()} ${i}` })).experiment?.arm);
  await lab.service.log.flush();
  lab.clock.advance(1000);
  return arms;
}

const changed = (a: readonly unknown[], b: readonly unknown[]) => a.filter((arm, i) => arm !== b[i]).length;

describe('a ramp by weights', () => {
  it('moves units, and says so: in the answer to the change, in the log, in the report', async () => {
    const lab = await openOne();
    await lab.api.put('trial', { ...SPLIT, arms: weights(9, 1) }, 'ada');
    const before = await armsOf(lab);
    const { view } = await lab.api.put('trial', { ...SPLIT, arms: weights(1, 1) }, 'ada');
    expect(view.warnings).toEqual([expect.stringMatching(/^40\.0 % of the units seen so far get another arm or none/)]);
    const after = await armsOf(lab);
    const moved = changed(before, after);
    expect(Math.abs(moved / USERS.length - 0.4)).toBeLessThan(0.1);
    const report = await lab.api.report('trial');
    expect(report.crossed).toBe(moved);
    expect(report.sampleRatio!.ok).toBe(true);
    expect(report.verdict).toMatchObject({
      state: 'open',
      text: expect.stringContaining(`since = ${view.configHash}`),
    });
    const since = await lab.api.report('trial', undefined, view.configHash);
    expect([since.crossed, since.reshuffled]).toEqual([0, undefined]);
    expect(since.arms.reduce((sum, { units }) => sum + units, 0)).toBe(USERS.length);
  });

  it('sticky: returning units keep their arm, new ones follow the weights; also in another server', async () => {
    const lab = await openOne();
    await lab.api.put('trial', { ...SPLIT, sticky: true, arms: weights(9, 1) }, 'ada');
    const before = await armsOf(lab);
    const { view } = await lab.api.put('trial', { ...SPLIT, sticky: true, arms: weights(1, 9) }, 'ada');
    expect(view.warnings).toBeUndefined();
    expect(changed(before, await armsOf(lab))).toBe(0);
    const other = await openOne({ database: `${lab.folder}/experiments.sqlite`, clock: lab.clock });
    expect(changed(before, await armsOf(other))).toBe(0);
    const fresh = [];
    for (let i = 0; i < 100; i++) fresh.push((await other.ask(`new ${i}`, [1])).experiment?.arm);
    expect(fresh.filter((arm) => arm === 'b').length).toBeGreaterThan(70);
    const report = await other.api.report('trial');
    expect(report.crossed).toBe(0);
    expect(report.sampleRatio!.ok).toBe(true);
  });

  it('sticky: made so by the change itself; lowered coverage takes none out', async () => {
    const lab = await openOne();
    await lab.api.put('trial', { ...SPLIT, arms: weights(9, 1) }, 'ada');
    const before = await armsOf(lab);
    await lab.api.put('trial', { ...SPLIT, sticky: true, coverage: 0.2, arms: weights(1, 1) }, 'ada');
    expect(changed(before, await armsOf(lab))).toBe(0);
  });

  it('sticky: another seed draws anew, an arm that is gone as well; forced requests bind none', async () => {
    const lab = await openOne();
    const sticky = { ...SPLIT, sticky: true };
    await lab.api.put('trial', sticky, 'ada');
    for (const user of USERS) await lab.ask(user, [1], { subject: { user, forcedArm: 'b' } });
    await lab.service.log.flush();
    const before = await armsOf(lab);
    expect(new Set(before).size).toBe(2);
    await lab.api.put('trial', { ...sticky, arms: [SPLIT.arms[0], { name: 'c', model: 'down' }] }, 'ada');
    const replaced = await armsOf(lab);
    expect(replaced.map((arm) => (arm === 'c' ? 'b' : arm))).toEqual(before);
    await lab.api.put('trial', { ...sticky, hash: { seed: 'another' } }, 'ada');
    expect(changed(before, await armsOf(lab))).toBeGreaterThan(50);
  });

  it('is refused where units have no arm of their own', async () => {
    const lab = await openOne();
    await expect(lab.api.put('trial', { ...SPLIT, mode: 'interleave', sticky: true }, 'ada')).rejects.toThrow(
      'expected no `sticky` for mode interleave',
    );
  });

  it('a database that does not answer costs one wait, then units go by their hash', async () => {
    const clock = new LabClock();
    let asked = 0;
    const problems: string[] = [];
    const decider = new StickyDecider({
      inner: { decide: () => 'a' },
      assignments: () => {
        asked++;
        return new Promise(() => {});
      },
      drawsAlike: async () => true,
      clock,
      observer: { onProblem: ({ reason }) => void problems.push(reason) },
    });
    const prepared = prepareExperiment(checkExperiment({ ...SPLIT, name: 'trial', sticky: true }, 'test'));
    const decide = (id: string) =>
      decider.decide({
        prepared,
        experiment: prepared.definition,
        unit: { kind: 'user', id },
        request: { requestId: 'r', query: 'q', passages: [] },
      });
    expect(await decide('u1')).toBe('a');
    expect(decide('u2')).toBe('a');
    expect([asked, problems.length]).toEqual([1, 1]);
    clock.advance(1001);
    expect(await decide('u2')).toBe('a');
    expect(asked).toBe(2);
  });
});

describe('what a change does to units', () => {
  const experiment = (over: object) => checkExperiment({ ...SPLIT, name: 'trial', ...over }, 'test');

  it('the share that moves is that of all points of the line', () => {
    const weight = fc.double({ min: 0.1, max: 10, noNaN: true });
    const definition = fc.record({
      weights: fc.array(weight, { minLength: 2, maxLength: 4 }),
      coverage: fc.double({ min: 0.05, max: 1, noNaN: true }),
    });
    const made = ({ weights: of, coverage }: { weights: number[]; coverage: number }) =>
      experiment({ coverage, arms: of.map((one, i) => ({ name: 'abcd'[i], model: 'm', weight: one })), control: 'a' });
    fc.assert(
      fc.property(definition, definition, (before, after) => {
        const ranges = [before, after].map(({ weights: of, coverage }) => {
          const total = of.reduce((x, y) => x + y, 0);
          return bucketRanges(
            of.map((one) => one / total),
            coverage,
          );
        });
        let [seen, moved] = [0, 0];
        for (let i = 0; i < 10_000; i++) {
          const [old, now] = ranges.map((of) => armAt((i + 0.5) / 10_000, of));
          if (old! < 0) continue;
          seen++;
          if (old !== now) moved++;
        }
        expect(Math.abs(movedShare(made(before), made(after)) - moved / Math.max(1, seen))).toBeLessThan(0.02);
      }),
    );
  });

  it('tells redefined arms and new draws; raised coverage, other metrics and other modes have no effect', () => {
    const before = experiment({ coverage: 0.5 });
    const effects = (over: object) => changeEffects(before, experiment({ coverage: 0.5, ...over }));
    expect(effects({ coverage: 0.9 })).toEqual([]);
    expect(effects({ metrics: [{ name: 'orders' }] })).toEqual([]);
    expect(effects({ mode: 'shadow' })).toEqual([]);
    expect(effects({ arms: [SPLIT.arms[0], { name: 'b', model: 'x' }] })).toEqual([
      'arm b is x instead of down: figures begin anew with its first answer',
    ]);
    expect(effects({ hash: { seed: 'other' }, sticky: true })).toEqual([
      expect.stringMatching(/^75\.0 % of the units/),
    ]);
    expect(effects({ coverage: 0.25 })).toEqual([expect.stringMatching(/^50\.0 % of the units/)]);
  });
});
