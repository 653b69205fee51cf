import { afterEach, describe, expect, it } from 'vitest';
import { reportModel } from '../../../src/experiments/analysis/report-tables.ts';
import { type ArmDecider, hashDecider } from '../../../src/experiments/assignment/deciders.ts';
import { renderTerminal } from '../../../src/reports/terminal.ts';
import { createRandom } from '../../../src/util/random.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

let lab: Lab;
afterEach(() => lab.close());

const THREE = [...SPLIT.arms, { name: 'c', model: 'down' }];

/** Users whose outcomes are what `value` says of their arm. */
async function run(users: number, definition: object, value: (arm: string, metric: string, noise: number) => number) {
  lab = await openLab(MODELS);
  const { definition: made } = (await lab.api.put('trial', { ...SPLIT, ...definition }, 'ada')).view;
  const random = createRandom(5);
  const outcomes = [];
  for (let i = 0; i < users; i++) {
    const { experiment } = await lab.ask(`user ${i}`, [1, 2]);
    for (const { name } of made.metrics)
      outcomes.push({ request_id: `r${i + 1}`, metric: name, value: value(experiment!.arm, name, random.normal()) });
  }
  if (outcomes.length > 0) await lab.api.addOutcomes(outcomes);
  return lab.api.report('trial');
}

const two = [{ name: 'clicks' }, { name: 'returns', direction: 'down' }];

describe('the verdict', () => {
  it('the best of several arms wins', async () => {
    const lift = { a: 0, b: 0.6, c: 1 } as Record<string, number>;
    const report = await run(600, { arms: THREE }, (arm, _metric, noise) => 5 + lift[arm]! + noise / 2);
    expect(report.verdict).toMatchObject({ state: 'win', winner: 'c' });
    expect(report.metrics[0]!.comparisons.map(({ effect }) => effect)).toEqual(['better', 'better']);
  });

  it('better in the first metric but worse in another is no win', async () => {
    const report = await run(400, { metrics: two }, (arm, _metric, noise) => 5 + (arm === 'b' ? 1 : 0) + noise / 2);
    expect(report.metrics.map(({ comparisons }) => comparisons[0]!.effect)).toEqual(['better', 'worse']);
    expect(report.verdict).toMatchObject({
      state: 'loss',
      winner: 'a',
      text: expect.stringContaining('b is worse in returns'),
    });
  });

  it('without a difference it stays open', async () => {
    const report = await run(300, {}, (_arm, _metric, noise) => 5 + noise);
    expect(report.verdict.state).toBe('open');
    expect(report.verdict.text).toMatch(/^No decision yet\. b: clicks /);
  });

  it('of few units nothing is concluded, however clear it looks', async () => {
    const report = await run(40, {}, (arm) => (arm === 'b' ? 9 : 1));
    expect(report.metrics[0]!.comparisons[0]!.adjustedP).toBe(0);
    expect(report.verdict.text).toMatch(/^No decision yet \(fewer than 100 units in an arm\)/);
  });

  it('a ratio divides what it names; metrics without outcomes are reported', async () => {
    const metrics = [
      { name: 'clicks' },
      { name: 'ctr', kind: 'ratio', numerator: 'clicks', denominator: 'exposures' },
      { name: 'basket', kind: 'ratio', numerator: 'money', denominator: 'orders' },
    ];
    // Outcomes carry the metrics' names: one called `ctr` is no numerator.
    const report = await run(20, { metrics }, (_arm, metric) => (metric === 'clicks' ? 0.5 : 100));
    expect(report.metrics[1]!.arms.map(({ value }) => value)).toEqual([0.5, 0.5]);
    expect(report.metrics[2]!.arms).toEqual([]);
    expect(report.warnings).toEqual(['no outcome of money has come yet', 'no outcome of orders has come yet']);
    expect(renderTerminal(reportModel(report))).toContain('ctr (Σ clicks ÷ Σ exposures)');
  });

  it('units that went missing block it', async () => {
    // Half of the users of b are lost between assignment and log.
    const lossy: ArmDecider = {
      decide(question) {
        const arm = hashDecider.decide(question);
        return arm === 'b' && Number(question.unit.id.split(' ')[1]) % 2 ? undefined : arm;
      },
    };
    lab = await openLab(MODELS, { decider: lossy });
    await lab.api.put('trial', SPLIT, 'ada');
    for (let i = 0; i < 400; i++) await lab.ask(`user ${i}`, [1, 2]);
    const skewed = await lab.api.report('trial');
    expect(skewed.sampleRatio!.p).toBeLessThan(0.001);
    expect(skewed.verdict).toMatchObject({
      state: 'sample_ratio',
      text: expect.stringContaining('Sample ratio mismatch'),
    });
    expect(renderTerminal(reportModel(skewed))).toContain('MISMATCH');
  });

  it('changed weights are no loss: each unit is expected by the weights of its first exposure', async () => {
    const weights = (a: number, b: number) => SPLIT.arms.map((arm, i) => ({ ...arm, weight: i === 0 ? a : b }));
    lab = await openLab(MODELS);
    let asked = 0;
    for (const [a, b] of [
      [19, 1],
      [9, 1],
      [1, 1],
    ] as const) {
      await lab.api.put('trial', { ...SPLIT, arms: weights(a, b) }, 'ada');
      for (let i = 0; i < 300; i++) await lab.ask(`user ${asked++}`, [1, 2]);
      lab.clock.advance(1000);
    }
    const { sampleRatio, verdict } = await lab.api.report('trial');
    expect(sampleRatio!.ok).toBe(true);
    expect(sampleRatio!.arms.map(({ expected }) => Math.round(expected))).toEqual([705, 195]);
    expect(verdict.state).not.toBe('sample_ratio');
  });

  it('users that changed their arm are left out, and reported with the change', async () => {
    await run(200, {}, (_arm, _metric, noise) => noise);
    lab.clock.advance(1000);
    await lab.api.put('trial', { ...SPLIT, hash: { seed: 'another' } }, 'ada');
    for (let i = 0; i < 50; i++) await lab.ask(`user ${i}`, [1, 2]);
    const report = await lab.api.report('trial');
    expect(report.crossed).toBeGreaterThan(10);
    expect(report.warnings).toEqual([
      expect.stringContaining('changed 1 time(s)'),
      `${report.crossed} unit(s) saw more than one arm and are left out`,
    ]);
  });

  it('users that changed their arm are no loss: each counts in the sample ratio by its first arm', async () => {
    const arms = SPLIT.arms.map((arm, i) => ({ ...arm, weight: i === 0 ? 9 : 1 }));
    await run(500, { arms }, (_arm, _metric, noise) => noise);
    lab.clock.advance(1000);
    // Nearly all users of the small arm, and a tenth of the others, are in the other arm now.
    await lab.api.put('trial', { ...SPLIT, arms, hash: { seed: 'another' } }, 'ada');
    for (let i = 0; i < 500; i++) await lab.ask(`user ${i}`, [1, 2]);
    const { sampleRatio, crossed } = await lab.api.report('trial');
    expect(crossed).toBeGreaterThan(50);
    expect(sampleRatio!.arms.reduce((sum, { units }) => sum + units, 0)).toBe(500);
    expect(sampleRatio!.ok).toBe(true);
  });

  it('before anything happened there is none', async () => {
    const report = await run(0, {}, () => 0);
    expect(report.verdict.state).toBe('empty');
    expect(report.from).toBeUndefined();
    expect(renderTerminal(reportModel(report))).toContain('no exposures yet');
  });
});
