import { InMemoryProvider, OpenFeature, type Provider } from '@openfeature/server-sdk';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { providerDecider, WinnowProvider } from '../../src/experiments/openfeature.ts';
import { type Lab, MODELS, openLab, SPLIT } from './lab.ts';

let lab: Lab;
afterEach(() => lab.close());
afterAll(() => OpenFeature.close());

/** A flag system in memory: users whose name ends in an even digit are in `b`. */
const flags = (): Provider =>
  new InMemoryProvider({
    trial: {
      variants: { a: 'a', b: 'b', out: 'nobody' },
      defaultVariant: 'a',
      disabled: false,
      contextEvaluator: ({ targetingKey = '' }) =>
        targetingKey === 'stranger' ? 'out' : Number(targetingKey.at(-1)) % 2 === 0 ? 'b' : 'a',
    },
  });

describe('a flag system decides', () => {
  it('the arm of every unit, through the real SDK', async () => {
    lab = await openLab(MODELS, { decider: await providerDecider(flags(), 'deciding') });
    await lab.api.put('trial', SPLIT, 'ada');
    for (let i = 0; i < 10; i++)
      expect((await lab.ask(`user-${i}`, [1, 2])).experiment?.arm).toBe(i % 2 === 0 ? 'b' : 'a');
    expect((await lab.ask('stranger', [1, 2])).experiment).toBeUndefined();
    // Interleaved and shadow experiments are not its business.
    await lab.api.put('trial', { ...SPLIT, mode: 'interleave' }, 'ada');
    expect((await lab.ask('stranger', [1, 2])).experiment?.arm).toBe('interleaved');
  });

  it('a flag that fails leaves requests outside, and is reported', async () => {
    const decider = await providerDecider(flags(), 'failing');
    const reported: string[] = [];
    const failing = await providerDecider(flags(), 'failing too', {
      onProblem: ({ reason }) => void reported.push(reason),
    });
    lab = await openLab(MODELS, { decider: failing });
    await lab.api.put('unknown-flag', SPLIT, 'ada');
    expect((await lab.ask('user-1', [1, 2])).experiment).toBeUndefined();
    expect(reported).toEqual([expect.stringContaining('FLAG_NOT_FOUND')]);
    expect(decider).toBeDefined();
  });

  it('the next experiment is asked where the first does not take the unit', async () => {
    lab = await openLab(MODELS, { decider: await providerDecider(flags(), 'chained') });
    await lab.api.put('another', SPLIT, 'ada');
    await lab.api.put('trial', SPLIT, 'ada');
    expect((await lab.ask('user-2', [1, 2])).experiment).toEqual({ name: 'trial', arm: 'b' });
  });
});

describe('Winnow as a provider', () => {
  it('gives other programs the arms it assigns, and takes their outcomes', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', { ...SPLIT, coverage: 0.8 }, 'ada');
    await OpenFeature.setProviderAndWait('winnow', new WinnowProvider(lab.service, lab.api));
    const client = OpenFeature.getClient('winnow');
    for (let i = 0; i < 20; i++) {
      const targetingKey = `user-${i}`;
      const arm = (await lab.ask(targetingKey, [1, 2])).experiment?.arm;
      const details = await client.getStringDetails('trial', 'nothing', { targetingKey });
      expect(details.value).toBe(arm ?? 'nothing');
      expect(details.reason).toBe(arm ? 'SPLIT' : 'DEFAULT');
      expect(await client.getBooleanValue('trial', false, { targetingKey })).toBe(arm === 'b');
      const model = arm === 'b' ? 'down' : 'up';
      expect(await client.getObjectValue('trial', {}, { targetingKey })).toEqual(arm ? { arm, model } : {});
    }
    client.track('clicks', { targetingKey: 'user-1' }, { value: 3 });
    client.track('clicks', { targetingKey: 'nobody' }, { value: 3 });
    while (lab.reported.problems.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(lab.reported.problems[0]!.reason).toContain('never exposed');
    const { metrics } = await lab.api.report('trial');
    expect(metrics[0]!.arms.reduce((sum, { value, n }) => sum + value * n, 0)).toBeCloseTo(3, 9);
  });

  it('says why it has no arm', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', { ...SPLIT, enabled: false }, 'ada');
    await lab.api.put('live', SPLIT, 'ada');
    await OpenFeature.setProviderAndWait('winnow', new WinnowProvider(lab.service, lab.api));
    const client = OpenFeature.getClient('winnow');
    const unit = { targetingKey: 'u' };
    expect(await client.getStringDetails('none', 'x', unit)).toMatchObject({ value: 'x', errorCode: 'FLAG_NOT_FOUND' });
    expect(await client.getStringDetails('trial', 'x', unit)).toMatchObject({ value: 'x', reason: 'DISABLED' });
    expect(await client.getStringDetails('live', 'x')).toMatchObject({
      value: 'x',
      errorCode: 'TARGETING_KEY_MISSING',
    });
    expect(await client.getStringDetails('live', 'x', { targetingKey: 'undefined' })).toMatchObject({
      value: 'x',
      errorCode: 'TARGETING_KEY_MISSING',
    });
    expect(await client.getNumberDetails('live', 7, unit)).toMatchObject({ value: 7, errorCode: 'TYPE_MISMATCH' });
  });
});
