import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstNaN, reduceLogits, toFloat32 } from '../../src/inference/reduction.ts';

const single = { kind: 'single' } as const;
const logit = fc.float({ min: -50, max: 50, noNaN: true });

describe('reducing logits', () => {
  it('takes one logit a row as it is, and copies it out of the engine', () => {
    const logits = Float32Array.of(1.5, -2);
    for (const dims of [[2], [2, 1]]) {
      const scores = reduceLogits(logits, dims, 2, single);
      expect([...scores]).toEqual([1.5, -2]);
      expect(scores.buffer).not.toBe(logits.buffer);
    }
  });

  it('sigmoid of a class score is the softmax probability', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 5 }).chain((k) =>
          fc.record({
            k: fc.constant(k),
            index: fc.nat(k - 1),
            rows: fc.array(fc.array(logit, { minLength: k, maxLength: k }), { minLength: 1, maxLength: 4 }),
          }),
        ),
        ({ k, index, rows }) => {
          const logits = Float32Array.from(rows.flat());
          const scores = reduceLogits(logits, [rows.length, k], rows.length, { kind: 'class', index });
          rows.forEach((row, r) => {
            const peak = Math.max(...row);
            const total = row.reduce((sum, z) => sum + Math.exp(z - peak), 0);
            const probability = Math.exp(row[index]! - peak) / total;
            expect(1 / (1 + Math.exp(-scores[r]!))).toBeCloseTo(probability, 5);
          });
        },
      ),
    );
  });

  it.each([
    [[2, 3], 2, single, 'expected logits [2, 1], got [2, 3]'],
    [[2, 1], 3, single, 'expected logits [3, k], got [2, 1]'],
    [[2, 1, 1], 2, single, 'got [2, 1, 1]'],
    [[2, 1], 2, { kind: 'class', index: 0 } as const, 'got [2, 1]'],
    [[2, 2], 2, { kind: 'class', index: 2 } as const, 'above class 2, got [2, 2]'],
  ])('refuses %j for %i rows', (dims, rows, reduction, message) => {
    expect(() => reduceLogits(new Float32Array(8), dims, rows, reduction)).toThrow(message);
  });

  it('reads float16 from its bits', () => {
    // 0x3c00 = 1, 0xc500 = -5, 0x7c00 = infinity, 0x0001 = 2^-24 (IEEE 754 binary16)
    const bits = Uint16Array.of(0x3c00, 0xc500, 0x7c00, 0x0001);
    const numbers = [1, -5, Infinity, 2 ** -24];
    expect([...toFloat32('float16', bits)]).toEqual(numbers);
    expect([...toFloat32('float16', new Float16Array(bits.buffer))]).toEqual(numbers);
    expect([...toFloat32('float64', Float64Array.of(0.1))]).toEqual([Math.fround(0.1)]);
    expect(() => toFloat32('int64', BigInt64Array.of(1n))).toThrow('got int64');
  });

  it('finds the first NaN', () => {
    expect(firstNaN(Float32Array.of(1, NaN, NaN))).toBe(1);
    expect(firstNaN(Float32Array.of(1, Infinity))).toBe(-1);
  });
});
