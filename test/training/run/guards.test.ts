import { describe, expect, it } from 'vitest';
import { alarmMessage, countAlarms, type StepFacts } from '../../../src/training/run/guards.ts';

const settings = { collapseStd: 1e-3, stuckTolerance: 1e-3, window: 3, action: 'stop' } as const;
const healthy: StepFacts = { loss: 0.4, norm: 1, scores: [0.5, -1, 2], trivialLoss: 0.7 };
const alarmsAfter = (steps: readonly StepFacts[]) =>
  steps.reduce<Record<string, number>>(
    (alarms, facts) => countAlarms(alarms, facts, settings) as Record<string, number>,
    {},
  );

describe('guards', () => {
  it('are silent on a healthy run', () =>
    expect(alarmMessage(alarmsAfter([healthy, healthy, healthy]), settings)).toBeUndefined());

  it('complain at once about NaN and infinity', () => {
    for (const broken of [{ loss: Number.NaN }, { norm: Number.POSITIVE_INFINITY }, { scores: [1, Number.NaN] }])
      expect(alarmMessage(alarmsAfter([{ ...healthy, ...broken }]), settings)).toMatch(/NaN or infinite/);
  });

  it('call equal scores a collapse after the window, not before', () => {
    const flat = { ...healthy, scores: [0.3, 0.3001, 0.3002] };
    expect(alarmMessage(alarmsAfter([flat, flat]), settings)).toBeUndefined();
    expect(alarmMessage(alarmsAfter([flat, flat, flat]), settings)).toMatch(/nearly equal for 3 steps \(collapse\)/);
    expect(alarmMessage(alarmsAfter([flat, flat, healthy, flat]), settings)).toBeUndefined();
  });

  it('do not call a single score a collapse', () => expect(alarmsAfter([{ ...healthy, scores: [1] }])).toEqual({}));

  it('call a loss at the trivial constant stuck', () => {
    const stuck = { ...healthy, loss: 0.7003 };
    expect(alarmMessage(alarmsAfter([stuck, stuck, stuck]), settings)).toMatch(/what equal scores give for 3 steps/);
  });
});
