import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Retention } from '../../../src/experiments/recording/retention.ts';
import { type Lab, LabClock, MODELS, openLab, SPLIT } from '../lab.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('retention', () => {
  const open = (clock: LabClock, days = 90) => {
    const problems: string[] = [];
    const retention = new Retention({
      days,
      wall: () => clock.now(),
      monotonic: () => clock.elapsed(),
      onProblem: (reason) => problems.push(reason),
    });
    return { retention, problems };
  };

  it('is due an hour after the start, then every hour', () => {
    const clock = new LabClock(1000 * DAY);
    const { retention } = open(clock);
    expect(retention.check()).toBeUndefined();
    clock.advance(HOUR);
    expect(retention.check()).toBe(clock.now() - 90 * DAY);
    expect(retention.check()).toBe(clock.now() - 90 * DAY);
    retention.pruned();
    clock.advance(HOUR - 1);
    expect(retention.check()).toBeUndefined();
    clock.advance(1);
    expect(retention.check()).toBe(clock.now() - 90 * DAY);
  });

  it('a jump is told, and believed after a day without another', () => {
    const clock = new LabClock(1000 * DAY);
    const { retention, problems } = open(clock);
    clock.advance(HOUR);
    clock.jump(100 * DAY);
    expect(retention.check()).toBeUndefined();
    expect(problems).toEqual(['the system clock jumped by 8640000 s; for a day nothing is removed from the log']);
    clock.advance(DAY - 1);
    expect(retention.check()).toBeUndefined();
    clock.advance(1);
    expect(retention.check()).toBe(clock.now() - 90 * DAY);
    expect(problems).toHaveLength(1);
  });

  it('no clock that is wrong for less than a day removes what is younger than the retention', () => {
    const minutes = fc.integer({ min: 1, max: 23 * 60 });
    const step = fc.record({ right: minutes, wrong: minutes, jumpHours: fc.integer({ min: -5000, max: 5000 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const clock = new LabClock(1000 * DAY);
        const start = clock.now();
        const { retention } = open(clock);
        const pass = (minutes: number) => {
          for (let rest = minutes; rest > 0; rest -= 10) {
            clock.advance(Math.min(rest, 10) * 60_000);
            const beforeAt = retention.check();
            if (beforeAt === undefined) continue;
            retention.pruned();
            const right = start + clock.elapsed();
            expect(beforeAt).toBeLessThanOrEqual(right - 90 * DAY + HOUR);
          }
        };
        pass(120);
        for (const { right, wrong, jumpHours } of steps) {
          clock.jump(jumpHours * HOUR);
          pass(wrong);
          clock.jump(-jumpHours * HOUR);
          pass(right);
        }
      }),
    );
  });
});

describe('a clock that jumps', () => {
  let lab: Lab;
  afterEach(() => lab.close());

  it('100 days for half a minute costs no row', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    for (const user of ['u1', 'u2']) await lab.ask(user, [1]);
    await lab.service.log.flush();
    const tick = async (ms: number) => {
      lab.clock.advance(ms);
      await lab.service.settled();
    };
    await tick(2 * HOUR);
    lab.clock.jump(100 * DAY);
    for (let i = 0; i < 3; i++) await tick(10_000);
    lab.clock.jump(-100 * DAY);
    for (let i = 0; i < 100; i++) await tick(HOUR);
    const statuses = await lab.api.addOutcomes(['r1', 'r2'].map((request_id) => ({ request_id, metric: 'clicks' })));
    expect(statuses.map(({ status }) => status)).toEqual(['stored', 'stored']);
    expect(lab.reported.problems.map(({ where }) => where)).toEqual(['clock', 'clock']);
  });
});
