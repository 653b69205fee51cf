import { afterEach, describe, expect, it } from 'vitest';
import { reportModel } from '../../../src/experiments/analysis/report-tables.ts';
import { selfCheck } from '../../../src/experiments/analysis/self-check.ts';
import { renderTerminal } from '../../../src/reports/terminal.ts';
import { type Lab, type LabModel, openLab, SPLIT } from '../lab.ts';

let lab: Lab;
afterEach(() => lab.close());

const MODELS: Readonly<Record<string, LabModel>> = { up: (g) => g, down: (g) => -g, other: (g) => g % 3 };
const arms = (b: string) => [SPLIT.arms[0], { name: 'b', model: b }];

let asked = 0;
/** Users come, and click as often as their arm's model says. */
async function visits(users: number, clicks: Readonly<Record<string, number>>): Promise<void> {
  const outcomes = [];
  for (let i = 0; i < users; i++) {
    const requestId = `v${++asked}`;
    const { experiment } = await lab.ask(`user ${asked}`, [1, 2], { requestId });
    outcomes.push({ request_id: requestId, metric: 'clicks', value: clicks[experiment?.arm ?? ''] ?? 0 });
  }
  await lab.api.addOutcomes(outcomes);
  lab.clock.advance(60_000);
}

const valuesOf = async (since?: number | string, until?: number) => {
  const { metrics } = await lab.api.report('trial', until, since);
  return Object.fromEntries(metrics[0]!.arms.map(({ arm, value }) => [arm, value]));
};

describe('a redefined arm', () => {
  it('has the figures of what it is now; those of before are had by asking', async () => {
    lab = await openLab(MODELS);
    const old = (await lab.api.put('trial', { ...SPLIT, arms: arms('down') }, 'ada')).view.configHash;
    const start = lab.clock.now();
    await visits(60, { a: 1, b: 5 });
    const redefined = lab.clock.now();
    const now = (await lab.api.put('trial', { ...SPLIT, arms: arms('other') }, 'ada')).view.configHash;
    // It has no exposures yet, so no figures: those of the former model do not count.
    const empty = await lab.api.report('trial');
    expect(empty.arms.map(({ units }) => units)).toEqual([0, 0]);
    expect(empty.warnings[0]).toMatch(/until then arm b was down, now other/);
    await visits(60, { a: 1, b: 2 });
    expect(await valuesOf()).toEqual({ a: 1, b: 2 });
    expect(await valuesOf(undefined, redefined - 1)).toEqual({ a: 1, b: 5 });
    expect(await valuesOf(now)).toEqual({ a: 1, b: 2 });
    expect((await valuesOf(old)).b).toBeGreaterThan(3);
    expect((await valuesOf(start)).b).toBeGreaterThan(3);
    const report = await lab.api.report('trial');
    expect(report.since).toBe(start + 1);
    expect(report.definitions.map(({ configHash, requests }) => [configHash, requests])).toEqual([
      [old, 60],
      [now, 60],
    ]);
    expect(report.versions.map(({ arm, version }) => [arm, version])).toEqual([
      ['a', 'up@1'],
      ['b', 'down@1'],
      ['b', 'other@1'],
    ]);
    expect(report.warnings[0]).toMatch(/until then arm b was answered by down@1, now by other@1/);
    const text = renderTerminal(reportModel(report));
    expect(text).toContain('down@1');
    const mixed = await lab.api.report('trial', undefined, 0);
    expect(mixed.warnings[0]).toMatch(/^arm b was answered by down@1 \(\d+ requests\) and other@1 \(\d+ requests\)/);
    const series = await lab.api.series('trial', 3);
    expect(series.points.at(-1)!.comparisons[0]!.difference).toBeCloseTo(1, 9);
    expect(series.points.at(-1)!.units).toBe(60);
    const [check] = await selfCheck(await lab.service.store(), lab.api.get('trial').definition, { runs: 10 });
    expect(check!.units).toBe(report.arms[0]!.units);
    await expect(lab.api.report('trial', undefined, 'abcdefabcdef')).rejects.toMatchObject({ code: 'invalid_field' });
  });

  it('an arm with another instruction is another arm', async () => {
    lab = await openLab(MODELS);
    const told = (instruction?: string) => [
      SPLIT.arms[0],
      { name: 'b', model: 'down', ...(instruction && { instruction }) },
    ];
    await lab.api.put('trial', { ...SPLIT, arms: told() }, 'ada');
    await visits(40, { a: 1, b: 5 });
    const put = await lab.api.put('trial', { ...SPLIT, arms: told('be strict') }, 'ada');
    expect(JSON.stringify(put)).toContain('arm b has another instruction: figures begin anew with its first answer');
    await visits(40, { a: 1, b: 2 });
    expect(await valuesOf()).toEqual({ a: 1, b: 2 });
    const [warning] = (await lab.api.report('trial')).warnings;
    expect(warning).toMatch(/until then arm b had no instruction, now has the instruction "be strict"/);
  });

  it('what other experiments and other changes do keeps the figures: weights, metrics, guardrails, a pinned version', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', { ...SPLIT, arms: arms('down') }, 'ada');
    await visits(40, { a: 1, b: 3 });
    const weighted = [{ ...SPLIT.arms[0], weight: 2 }, SPLIT.arms[1]];
    for (const change of [
      { arms: weighted },
      { metrics: [{ name: 'clicks' }, { name: 'orders' }] },
      { guardrails: [{ metric: 'errors', max: 0.1 }] },
      { arms: arms('down@1') },
    ]) {
      await lab.api.put('trial', { ...SPLIT, ...change }, 'ada');
      await visits(10, { a: 1, b: 3 });
    }
    const report = await lab.api.report('trial');
    expect(report.since).toBeUndefined();
    expect(report.arms.reduce((sum, { units }) => sum + units, 0)).toBe(80);
    expect(report.definitions).toHaveLength(5);
  });

  it('defined back has neither the figures of in between nor those of before', async () => {
    lab = await openLab(MODELS);
    for (const [model, clicks] of [
      ['down', 1],
      ['other', 9],
      ['down', 3],
    ] as const) {
      await lab.api.put('trial', { ...SPLIT, arms: arms(model) }, 'ada');
      await visits(40, { a: 1, b: clicks });
    }
    expect(await valuesOf()).toEqual({ a: 1, b: 3 });
  });

  it('interleaved and shadow: credit and figures begin with the arm that is there now', async () => {
    lab = await openLab(MODELS);
    for (const model of ['down', 'other']) {
      await lab.api.put('trial', { ...SPLIT, mode: 'interleave', arms: arms(model) }, 'ada');
      await lab.api.put('dark', { ...SPLIT, mode: 'shadow', arms: arms(model) }, 'ada');
      for (let i = 0; i < 8; i++) {
        const requestId = `${model} ${i}`;
        await lab.ask(`u${i}`, [3, 1, 2], { requestId });
        await lab.api.addOutcomes([{ request_id: requestId, metric: 'clicks', item: 0 }]);
      }
      await expect.poll(() => lab.reported.shadows.length).toBe(model === 'down' ? 8 : 16);
      lab.clock.advance(60_000);
    }
    expect((await lab.api.report('trial')).credit[0]!.requests).toBe(8);
    expect((await lab.api.report('trial', undefined, 0)).credit[0]!.requests).toBe(16);
    expect((await lab.api.report('dark')).shadow.b!.kendall_tau!.requests).toBe(8);
  });

  it('split after interleaving: the answers of all arms are no units of one', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', { ...SPLIT, mode: 'interleave' }, 'ada');
    for (let i = 0; i < 20; i++) await lab.ask(`user ${i}`, [1, 2]);
    lab.clock.advance(60_000);
    await lab.api.put('trial', SPLIT, 'ada');
    for (let i = 0; i < 20; i++) await lab.ask(`user ${i}`, [1, 2]);
    const report = await lab.api.report('trial');
    expect(report.crossed).toBe(0);
    expect(report.arms.reduce((sum, { units }) => sum + units, 0)).toBe(20);
  });
});

describe('covariates of a period', () => {
  it('are from before the unit’s first exposure ever, not from its time under another definition', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', { ...SPLIT, arms: arms('down') }, 'ada');
    await lab.ask('u', [1]);
    lab.clock.advance(3_600_000);
    await lab.api.addOutcomes([{ unit: 'u', metric: 'clicks', value: 7 }]);
    lab.clock.advance(3_600_000);
    const since = lab.clock.now();
    await lab.ask('u', [1]);
    await lab.service.log.flush();
    const rows = [];
    for await (const { sums, before } of (await lab.service.store()).units('trial', { since, beforeMs: 9e9 }))
      rows.push({ sums, before });
    expect(rows).toEqual([{ sums: {}, before: {} }]);
  });
});
