import { describe, expect, it } from 'vitest';
import { prepareExperiment } from '../../../src/experiments/assignment/prepared-experiment.ts';
import { checkExperiment } from '../../../src/experiments/definitions/definition.ts';
import { countsAgainstArm, GuardrailWatch, type Trip } from '../../../src/experiments/recording/guardrails.ts';
import { createRandom } from '../../../src/util/random.ts';
import { SPLIT } from '../lab.ts';

const prepared = (guardrail: object) =>
  prepareExperiment(checkExperiment({ ...SPLIT, name: 'trial', guardrails: [guardrail] }, 'test'));

interface Behavior {
  /** Share of requests that fail. */
  readonly failing: number;
  /** Mean of the latency, which is exponential. */
  readonly ms: number;
}

/** Sends requests to both arms by `weight` of b. @returns the first trip and after how many requests of b it came. */
function run(guardrail: object, a: Behavior, b: Behavior, { requests = 4000, weight = 0.5, seed = 1 } = {}) {
  const random = createRandom(seed);
  const watch = new GuardrailWatch();
  const experiment = prepared(guardrail);
  let ofB = 0;
  for (let i = 0; i < requests; i++) {
    const arm = random.next() < weight ? 'b' : 'a';
    const { failing, ms } = arm === 'b' ? b : a;
    const failed = random.next() < failing;
    if (arm === 'b') ofB++;
    const latencyMs = failed ? undefined : -ms * Math.log(1 - random.next());
    const trip: Trip | undefined = watch.record(experiment, arm, { failed, latencyMs });
    if (trip) return { trip, ofB };
  }
  return undefined;
}

const ERRORS = { metric: 'errors', max: 0.02 };
const SLOW = { metric: 'latency_p95_ms', max: 100 };
const sound = { failing: 0.001, ms: 10 };

describe('a guardrail compares an arm with control in the same time', () => {
  it('what hits both alike takes no arm out: errors, slowness, both for a while', () => {
    const outage = { failing: 0.4, ms: 500 };
    for (const guardrail of [ERRORS, SLOW]) {
      expect(run(guardrail, outage, outage)).toBeUndefined();
      expect(run(guardrail, sound, sound)).toBeUndefined();
    }
  });

  it.each([0.01, 0.1, 0.5, 0.9])('an arm with a share of %f of the traffic that is worse is taken out', (weight) => {
    const failing = run(ERRORS, sound, { ...sound, failing: 0.2 }, { weight, requests: 60_000 });
    expect(failing?.trip.reason).toMatch(/^arm b: errors 0\.\d+ > 0\.02 \(control 0(\.00\d+)?\)$/);
    expect(failing?.ofB).toBeLessThanOrEqual(500);
    const slow = run(SLOW, sound, { ...sound, ms: 80 }, { weight, requests: 60_000 });
    expect(slow?.trip.metric).toBe('latency_p95_ms');
    expect(slow?.ofB).toBeLessThanOrEqual(500);
  });

  it('one that is far slower than a control that is above the limit itself as well', () => {
    expect(run(SLOW, { failing: 0, ms: 200 }, { failing: 0, ms: 2000 })).toBeDefined();
  });

  it('worse than control but within the limit is no breach; beyond it but no worse neither', () => {
    expect(run(ERRORS, { failing: 0, ms: 1 }, { failing: 0.005, ms: 1 }, { requests: 2000 })).toBeUndefined();
    expect(run(SLOW, { failing: 0, ms: 1 }, { failing: 0, ms: 20 })).toBeUndefined();
    expect(run(ERRORS, { failing: 0.06, ms: 1 }, { failing: 0.05, ms: 1 })).toBeUndefined();
  });

  it('an old outage of control does not excuse an arm', () => {
    const experiment = prepared(ERRORS);
    const watch = new GuardrailWatch();
    const each = (a: boolean, b: boolean, times: number) => {
      for (let i = 0; i < times; i++) {
        watch.record(experiment, 'a', { failed: a, latencyMs: undefined });
        const trip = watch.record(experiment, 'b', { failed: b, latencyMs: undefined });
        if (trip) return trip;
      }
      return undefined;
    };
    expect(each(true, true, 2000)).toBeUndefined();
    expect(each(false, false, 600)).toBeUndefined();
    expect(each(false, true, 200)).toBeDefined();
  });

  it('of 200 experiments whose arms fail alike, at 5 % or at random times, next to none is taken out', () => {
    let trips = 0;
    for (let seed = 0; seed < 200; seed++) {
      const alike = { failing: 0.05, ms: 60 };
      if (run(seed % 2 ? ERRORS : SLOW, alike, alike, { seed, weight: 0.3 })) trips++;
    }
    expect(trips).toBeLessThanOrEqual(2);
  });
});

describe('what counts against an arm', () => {
  it.each([
    ['deadline_exceeded', true, false],
    ['deadline_exceeded', false, true],
    ['client_closed', false, false],
    ['invalid_field', false, false],
    ['passage_too_long', false, false],
    ['overloaded', false, false],
    ['inference_failed', true, true],
    ['not_a_number', true, true],
  ] as const)('%s, deadline of the client: %s → %s', (code, client, counts) => {
    expect(countsAgainstArm(code, client)).toBe(counts);
  });
});
