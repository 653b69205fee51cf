import { describe, expect, it } from 'vitest';
import { TokenizerBreaker } from '../../src/tokenization/tokenizer-breaker.ts';

describe('a tokenizer that costs threads', () => {
  it('is taken out from the second failure on, for growing times up to a minute', () => {
    let now = 0;
    const breaker = new TokenizerBreaker(() => now);
    const pauses = Array.from({ length: 10 }, () => {
      breaker.fail('bad');
      const pause = breaker.remainingMs('bad');
      now += pause + 10_000;
      expect(breaker.remainingMs('bad')).toBe(0);
      return pause;
    });
    expect(pauses).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(breaker.remainingMs('good')).toBe(0);
  });

  it('starts afresh five minutes after its last failure', () => {
    let now = 0;
    const breaker = new TokenizerBreaker(() => now);
    for (let i = 0; i < 9; i++) breaker.fail('bad');
    now += 300_001;
    expect(breaker.failures('bad')).toBe(0);
    breaker.fail('bad');
    expect(breaker.remainingMs('bad')).toBe(0);
  });
});
