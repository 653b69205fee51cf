import { afterEach, describe, expect, it } from 'vitest';
import { type Lab, MODELS, openLab } from '../lab.ts';

const arms = [
  { name: 'a', model: 'up' },
  { name: 'b', model: 'down' },
];

let lab: Lab;
afterEach(() => lab.close());

describe('bounds of a metric', () => {
  it('refuse outcomes outside, together with all others of the request', async () => {
    lab = await openLab(MODELS);
    const metrics = [
      { name: 'revenue', min: 0, max: 500 },
      { name: 'rate', kind: 'ratio', numerator: 'clicks', denominator: 'exposures', max: 3 },
      { name: 'free' },
    ];
    await lab.api.put('trial', { arms, control: 'a', metrics }, 'ada');
    await lab.ask('u', [1, 2]);
    const add = (metric: string, ...values: readonly number[]) =>
      lab.api.addOutcomes(values.map((value) => ({ request_id: 'r1', metric, value })));
    expect(await add('revenue', 0, 500)).toMatchObject([{ status: 'stored' }, { status: 'stored' }]);
    await expect(add('revenue', 501)).rejects.toMatchObject({ code: 'invalid_field', params: { field: 'value' } });
    await expect(add('revenue', 10, -1)).rejects.toMatchObject({ params: { field: '[1].value' } });
    await expect(add('clicks', 4)).rejects.toThrow('expected clicks of at most 3, got 4 (value)');
    expect(await add('clicks', 3, -4)).toHaveLength(2);
    expect(await add('free', 1e15)).toHaveLength(1);
    const { arms: seen } = await lab.api.report('trial');
    expect(seen.reduce((sum, { requests }) => sum + requests, 0)).toBe(1);
  });

  it('have to be in order', async () => {
    lab = await openLab(MODELS);
    const metrics = [{ name: 'revenue', min: 2, max: 1 }];
    await expect(lab.api.put('trial', { arms, control: 'a', metrics }, 'ada')).rejects.toMatchObject({
      code: 'invalid_experiments',
    });
  });
});
