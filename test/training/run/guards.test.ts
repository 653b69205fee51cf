import { describe, expect, it } from 'vitest';
import { ring, type StepFacts, verdict } from '../../../src/training/run/guards.ts';

const settings = { collapseStd: 1e-3, stuckTolerance: 1e-3, window: 3, action: 'stop' } as const;
const healthy: StepFacts = { loss: 0.4, norm: 1, scores: [0.5, -1, 2], trivialLoss: 0.7 };
const ringing = (steps: readonly StepFacts[]) =>
  steps.reduce<Record<string, number>>((alarms, facts) => ring(alarms, facts, settings) as Record<string, number>, {});

describe('guards', () => {
  it('are silent on a healthy run', () =>
    expect(verdict(ringing([healthy, healthy, healthy]), settings)).toBeUndefined());

  it('speak at once where numbers are none', () => {
    for (const broken of [{ loss: Number.NaN }, { norm: Number.POSITIVE_INFINITY }, { scores: [1, Number.NaN] }])
      expect(verdict(ringing([{ ...healthy, ...broken }]), settings)).toMatch(/not numbers/);
  });

  it('call equal scores a collapse after the window, not before', () => {
    const flat = { ...healthy, scores: [0.3, 0.3001, 0.3002] };
    expect(verdict(ringing([flat, flat]), settings)).toBeUndefined();
    expect(verdict(ringing([flat, flat, flat]), settings)).toMatch(/nearly equal for 3 steps \(collapse\)/);
    expect(verdict(ringing([flat, flat, healthy, flat]), settings)).toBeUndefined();
  });

  it('do not call a single score a collapse', () => expect(ringing([{ ...healthy, scores: [1] }])).toEqual({}));

  it('call a loss at the trivial constant stuck', () => {
    const stuck = { ...healthy, loss: 0.7003 };
    expect(verdict(ringing([stuck, stuck, stuck]), settings)).toMatch(/what equal scores give for 3 steps/);
  });
});
