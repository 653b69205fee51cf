import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MinuteBudget } from '../../src/http/minute-budget.ts';

describe('a budget by the minute', () => {
  it('never lets an account spend more than the limit in its minute', () => {
    const step = fc.record({
      account: fc.constantFrom('a', 'b', 'c'),
      amount: fc.integer({ min: 0, max: 20 }),
      pauseMs: fc.integer({ min: 0, max: 30_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let now = 0;
        const budget = new MinuteBudget(30, { now: () => now });
        const spent: { account: string; amount: number; at: number }[] = [];
        for (const { account, amount, pauseMs } of steps) {
          now += pauseMs;
          const seconds = budget.waitFor(account, amount);
          if (seconds > 0) {
            expect(seconds).toBeLessThanOrEqual(60);
            continue;
          }
          budget.spend(account, amount);
          spent.push({ account, amount, at: now });
        }
        // Windows begin with a spending, so that two of them never hold more than twice the limit in one minute.
        for (const { account, at } of spent) {
          const within = spent.filter((one) => one.account === account && one.at >= at && one.at < at + 60_000);
          expect(within.reduce((sum, { amount }) => sum + amount, 0)).toBeLessThanOrEqual(60);
        }
      }),
    );
  });

  it('tells when the minute is over', () => {
    let now = 0;
    const budget = new MinuteBudget(10, { now: () => now });
    budget.spend('a', 10);
    now = 20_000;
    expect(budget.waitFor('a', 1)).toBe(40);
    expect(budget.waitFor('b', 1)).toBe(0);
    now = 60_000;
    expect(budget.waitFor('a', 1)).toBe(0);
    expect(budget.waitFor('a', 11)).toBe(60);
  });

  it('remembers the latest accounts only', () => {
    const budget = new MinuteBudget(1, { now: () => 0 });
    for (let i = 0; i < 20_000; i++) budget.spend(`account ${i}`, 1);
    expect(budget.waitFor('account 0', 1)).toBe(0);
    expect(budget.waitFor('account 19999', 1)).toBe(60);
  });

  it('without a limit refuses nothing', () => {
    const budget = new MinuteBudget(0);
    budget.spend('a', 1e9);
    expect(budget.waitFor('a', 1e9)).toBe(0);
  });
});
