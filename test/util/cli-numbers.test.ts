import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decimalIn, parseNumber, parseRanks, parseTime } from '../../src/util/cli-numbers.ts';

describe('numbers of flags', () => {
  it('gives back every number it accepts', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(decimalIn(String(value))).toBe(value === 0 ? 0 : value);
      }),
    );
  });

  it.each(['', ' ', 'x', '0x10', '1_000', 'NaN', 'Infinity', '1e999', '5 %'])('refuses %j', (text) => {
    expect(() => parseNumber(text, '--flag')).toThrow(`--flag: expected a number, got "${text}" (string)`);
  });

  it.each([
    [{ integer: true, min: 1 }, '0', 'a whole number of at least 1'],
    [{ integer: true, min: 1 }, '1.5', 'a whole number of at least 1'],
    [{ min: 0, max: 1 }, '2', 'a number from 0 to 1'],
    [{ max: 1 }, '2', 'a number of at most 1'],
  ])('names the range %j', (range, text, expected) => {
    expect(() => parseNumber(text, '--flag', range)).toThrow(`--flag: expected ${expected}, got "${text}" (string)`);
  });

  it('reads ranks and times', () => {
    expect(parseRanks('10-100', '--ranks')).toEqual([10, 100]);
    for (const text of ['0-5', '5-4', '5', '-1-5']) expect(() => parseRanks(text, '--ranks')).toThrow(/^--ranks: /);
    expect(parseTime('2026-05-01T00:00:00Z', '--until')).toBe(1_777_593_600_000);
    expect(parseTime('1777593600000', '--until')).toBe(1_777_593_600_000);
    expect(() => parseTime('soon', '--until')).toThrow(/--until: expected an ISO 8601 time/);
  });
});
