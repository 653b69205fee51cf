import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { formatScore } from '../../src/http/scores.ts';

/** Every finite float32, by its bits. */
const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });

const significant = (text: string) =>
  text.replace(/e.*$/, '').replace(/[-.]/g, '').replace(/^0+/, '').replace(/0+$/, '').length;

/** Whether a decimal with `digits` significant digits reads back as `value`; the two next to `value` are the only candidates. */
function hasDecimalOf(value: number, digits: number): boolean {
  const [mantissa, exponent] = Math.abs(value).toExponential(20).split('e') as [string, string];
  const scale = 10n ** BigInt(20 - (digits - 1));
  const low = BigInt(mantissa.replace('.', '')) / scale;
  return [low, low + 1n].some((m) => Math.fround(Number(`${m}e${Number(exponent) - digits + 1}`)) === Math.abs(value));
}

describe('formatScore', () => {
  it('writes what clients in typed languages read as a floating point number', () => {
    expect(formatScore(1)).toBe('1.0');
    expect(formatScore(0)).toBe('0.0');
    expect(formatScore(-0)).toBe('0.0');
    expect(formatScore(-3)).toBe('-3.0');
    expect(formatScore(1e-7)).toBe('1.0e-7');
    expect(formatScore(123456792)).toBe('123456790.0');
    expect(formatScore(1e10)).toBe('1.0e+10');
  });

  it('uses the digits of a float32, not of the double around it', () => {
    expect(formatScore(Math.fround(0.1))).toBe('0.1');
    expect(formatScore(Math.fround(0.9997739))).toBe('0.9997739');
    expect(formatScore(Math.fround(1 / 3))).toBe('0.33333334');
    expect(formatScore(-8.15439)).toBe('-8.15439');
  });

  it('round-trips every float32', () => {
    fc.assert(
      fc.property(float32, (x) => Math.fround(Number(formatScore(x))) === x),
      { numRuns: 5000 },
    );
  });

  it('is JSON with a point, at most 18 characters', () => {
    fc.assert(
      fc.property(float32, (x) => {
        const text = formatScore(x);
        expect(text).toMatch(/^-?\d+\.\d+(e[+-]\d+)?$/);
        expect(text.length).toBeLessThanOrEqual(18);
        expect(Math.fround(JSON.parse(text) as number) === x).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  it('is the shortest: no decimal with one digit fewer reads back', () => {
    fc.assert(
      fc.property(float32, (x) => {
        fc.pre(x !== 0);
        const digits = significant(formatScore(x));
        if (digits > 1) expect(hasDecimalOf(x, digits - 1)).toBe(false);
      }),
      { numRuns: 5000 },
    );
  });

  it('is the shortest at powers of two, where the gaps on both sides differ', () => {
    for (let e = -126; e < 128; e++) {
      const digits = significant(formatScore(2 ** e));
      if (digits > 1) expect(hasDecimalOf(2 ** e, digits - 1), `2^${e}`).toBe(false);
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e300])('refuses %s', (x) => {
    expect(() => formatScore(x, 3)).toThrow(WinnowError);
    expect(() => formatScore(x, 3)).toThrow('row 3');
  });
});
