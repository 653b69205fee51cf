import { afterEach, describe, expect, it } from 'vitest';
import { liftPoints, seriesOf } from '../../../src/experiments/analysis/series.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

let lab: Lab;
afterEach(() => lab.close());

const HOUR = 3_600_000;

describe('a series', () => {
  it('ends where the report stands, and passes through what it stood at before', async () => {
    lab = await openLab(MODELS);
    const metrics = [{ name: 'clicks' }, { name: 'ctr', kind: 'ratio', denominator: 'exposures' }];
    await lab.api.put('trial', { ...SPLIT, metrics }, 'ada');
    for (let i = 0; i < 240; i++) {
      const answer = await lab.ask(`user ${i % 80}`, [1, 2]);
      const value = (answer.experiment!.arm === 'b' ? 2 : 1) * (1 + (i % 4));
      const sent = [{ request_id: `r${i + 1}`, metric: 'clicks', value }];
      await lab.api.addOutcomes(i % 5 === 0 ? [...sent, { unit: `user ${i % 80}`, metric: 'ctr' }] : sent);
      lab.clock.advance(HOUR / 10);
    }
    const now = lab.clock.now();
    const { points } = await lab.api.series('trial', 12, now);
    expect(points).toHaveLength(12);
    for (const point of [points[3]!, points[7]!, points[11]!]) {
      const report = await lab.api.report('trial', point.at);
      expect(point.units).toBe(report.arms.reduce((sum, { units }) => sum + units, 0));
      const wanted = report.metrics.flatMap((metric) =>
        metric.comparisons.map((one) => ({ metric: metric.name, difference: one.difference, p: one.alwaysValid.p })),
      );
      expect(point.comparisons).toHaveLength(wanted.length);
      point.comparisons.forEach(({ metric, difference, alwaysValid }, i) => {
        expect(metric).toBe(wanted[i]!.metric);
        expect(difference).toBeCloseTo(wanted[i]!.difference, 9);
        expect(alwaysValid.p).toBeCloseTo(wanted[i]!.p, 9);
      });
    }
    expect(liftPoints({ experiment: 'trial', points }, 'clicks').length).toBeGreaterThan(8);
  });

  it('of an experiment that is over ends with its last outcomes', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    const start = lab.clock.now();
    await lab.ask('u', [1]);
    await lab.service.log.flush();
    const { points } = await seriesOf(await lab.service.store(), lab.api.get('trial').definition, {
      points: 2,
      now: start + 1000 * 24 * HOUR,
    });
    expect(points.at(-1)!.at).toBe(start + 24 * HOUR);
  });

  it('without exposures, or of another mode, is empty', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    await lab.api.put('mixed', { ...SPLIT, mode: 'interleave' }, 'ada');
    expect((await lab.api.series('trial', 5)).points).toEqual([]);
    await lab.ask('u', [1], { model: 'up' });
    expect((await lab.api.series('mixed', 5)).points).toEqual([]);
  });
});
