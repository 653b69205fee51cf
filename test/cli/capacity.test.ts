import { describe, expect, it } from 'vitest';
import { winnow } from '../support/command.ts';

const FLAGS = ['capacity', '--passages', '2', '--seconds', '1', '--json'];

describe('winnow capacity', () => {
  it('measures the hosts of this machine and plans with that', async () => {
    const { code, output } = await winnow(...FLAGS, '--rps', '1000', '--tokens', '16', '--cores', '1', '--price', '1');
    expect(code).toBe(0);
    const { measured, plan } = JSON.parse(output);
    expect(measured).toMatchObject({ model: 'minilm-l6-bce@1', variant: 'int8', provider: 'cpu' });
    expect(measured.requests).toBeGreaterThan(0);
    expect(measured.processorMsARequest).toBeGreaterThan(0);
    expect(measured.hostBytes).toBeGreaterThan(20e6);
    expect(plan.busyHosts).toBeCloseTo(measured.hostMsARequest, 6);
    expect(plan).toMatchObject({ hostsAReplica: 1, cores: plan.replicas, costAMonth: 730 * plan.replicas });
  });

  it('refuses pairs longer than the model, and numbers that are no load', async () => {
    const tooLong = await winnow(...FLAGS, '--rps', '1', '--tokens', '193');
    expect(tooLong).toMatchObject({
      code: 2,
      error: 'winnow: --tokens: expected at most 192, to which minilm-l6-bce cuts pairs, got 193\n',
    });
    const tooShort = await winnow(...FLAGS, '--rps', '1', '--tokens', '3');
    expect([tooShort.code, tooShort.error]).toEqual([
      2,
      expect.stringMatching(/^winnow: --tokens: expected .* got 3\n$/),
    ]);
    const none = await winnow(...FLAGS, '--rps', '0', '--tokens', '16');
    expect([none.code, none.error]).toEqual([2, expect.stringContaining('--rps: expected a number of at least 0.001')]);
  });
});
