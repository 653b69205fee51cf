import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planCapacity } from '../../src/scheduling/capacity.ts';

const request = fc.record({
  rps: fc.double({ min: 0.001, max: 1e5, noNaN: true }),
  hostMsARequest: fc.double({ min: 0.01, max: 1e5, noNaN: true }),
  headroom: fc.double({ min: 0, max: 0.95, noNaN: true }),
  hostsAReplica: fc.integer({ min: 1, max: 64 }),
  coresAReplica: fc.integer({ min: 1, max: 64 }),
  frontBytes: fc.integer({ min: 0, max: 1e9 }),
  hostBytes: fc.integer({ min: 0, max: 1e9 }),
  price: fc.option(fc.double({ min: 0, max: 10, noNaN: true }), { nil: undefined }),
});

describe('capacity plan', () => {
  it('is the least number of replicas that keeps the headroom', () => {
    fc.assert(
      fc.property(request, (given) => {
        const plan = planCapacity(given);
        const most = (replicas: number) =>
          (replicas * given.hostsAReplica * 1000 * (1 - given.headroom)) / given.hostMsARequest;
        expect(most(plan.replicas)).toBeGreaterThanOrEqual(given.rps * (1 - 1e-6));
        if (plan.replicas > 1) expect(most(plan.replicas - 1)).toBeLessThan(given.rps);
        expect(plan.utilization).toBeLessThanOrEqual((1 - given.headroom) * (1 + 1e-6));
        expect(plan.hosts).toBe(plan.replicas * given.hostsAReplica);
        expect(plan.cores).toBe(plan.replicas * given.coresAReplica);
        expect(plan.bytes).toBe(plan.replicas * (given.frontBytes + given.hostsAReplica * given.hostBytes));
        expect('costAMonth' in plan).toBe(given.price !== undefined);
      }),
    );
  });

  it('is exact where the load fits exactly', () => {
    // 30 requests/s of 100 ms keep 3 hosts busy, which is 75 % of two replicas with two hosts each.
    const plan = planCapacity({
      rps: 30,
      hostMsARequest: 100,
      headroom: 0.25,
      hostsAReplica: 2,
      coresAReplica: 2,
      frontBytes: 200e6,
      hostBytes: 150e6,
      price: 0.05,
    });
    expect(plan).toEqual({
      busyHosts: 3,
      hosts: 4,
      replicas: 2,
      cores: 4,
      utilization: 0.75,
      mostRpsAReplica: 20,
      bytesAReplica: 500e6,
      bytes: 1000e6,
      costAMonth: 146,
    });
  });
});
