import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { squareSum, updateInPlace } from '../../../src/training/optimizers/adamw-kernel.ts';
import { kernelBytesText } from '../../../src/training/optimizers/adamw-kernel-build.ts';
import { createRandom } from '../../../src/util/random.ts';

const BYTES = join(import.meta.dirname, '../../../src/training/optimizers/adamw-kernel-bytes.ts');
const OPTIONS = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

/** Sizes within a block, at its ends, and over several. */
const sizes = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.integer({ min: 4090, max: 4102 }),
  fc.integer({ min: 1, max: 20_000 }),
);

/** An array within a larger one whose other values must stay. */
function within(size: number, draw: () => number): { readonly all: Float32Array; readonly own: Float32Array } {
  const all = new Float32Array(size + 6).fill(7);
  const own = all.subarray(3, 3 + size);
  for (let i = 0; i < size; i++) own[i] = draw();
  return { all, own };
}

describe('the kernel of AdamW', () => {
  it('is what its source compiles to', async () => {
    expect(readFileSync(BYTES, 'utf8')).toBe(await kernelBytesText());
  });

  it('follows the formula at every place and changes nothing else', () => {
    fc.assert(
      fc.property(sizes, fc.integer(), fc.boolean(), (size, seed, decays) => {
        const random = createRandom(seed);
        const [weight, first, second, gradient] = [
          within(size, random.normal),
          within(size, () => 0.1 * random.normal()),
          within(size, () => 0.01 * random.next()),
          within(size, random.normal),
        ];
        const before = [weight, first, second].map(({ own }) => Float64Array.from(own));
        const move = { factor: 0.7, learningRate: 1e-3, stepSize: 2e-3, secondScale: 3, decays };
        updateInPlace(
          { weight: weight.own, firstMoment: first.own, secondMoment: second.own },
          gradient.own,
          move,
          OPTIONS,
        );
        for (let i = 0; i < size; i++) {
          const g = gradient.own[i]! * 0.7;
          const m = 0.9 * before[1]![i]! + 0.1 * g;
          const v = 0.999 * before[2]![i]! + 0.001 * g * g;
          const deviation = 3 * Math.sqrt(v) + 1e-8;
          const w = before[0]![i]! * (decays ? 1 - 1e-5 : 1) - (2e-3 * m) / deviation;
          // A few roundings to float32 each; those of the moment also affect the weight.
          const ofFirst = Math.abs(m) + Math.abs(g);
          const moved = Math.abs(w - before[0]![i]!) + (2e-3 * ofFirst) / deviation;
          const far = Math.max(
            Math.abs(first.own[i]! - m) - 3e-7 * ofFirst,
            Math.abs(second.own[i]! - v) - 3e-7 * v,
            Math.abs(weight.own[i]! - w) - 3e-7 * (Math.abs(w) + moved),
          );
          if (!(far <= 0)) throw new Error(`expected the formula at ${i} of ${size}, got ${weight.own[i]} for ${w}`);
        }
        for (const { all } of [weight, first, second, gradient])
          expect([...all.subarray(0, 3), ...all.subarray(-3)]).toEqual(new Array(6).fill(7));
      }),
      { numRuns: 60 },
    );
  });

  it('sums squares of any number of floats, large and small, in double precision', () => {
    fc.assert(
      fc.property(sizes, fc.integer(), (size, seed) => {
        const random = createRandom(seed);
        const { own } = within(size, () => random.normal() * 10 ** (random.below(20) - 10));
        const exact = own.reduce((sum, x) => sum + x * x, 0);
        expect(Math.abs(squareSum(own) / exact - 1)).toBeLessThan(1e-12);
      }),
      { numRuns: 60 },
    );
    expect(squareSum(new Float32Array(0))).toBe(0);
  });

  it('propagates NaN and infinity', () => {
    expect(squareSum(Float32Array.of(1, Number.NaN, 2))).toBeNaN();
    expect(squareSum(Float32Array.of(1, Number.POSITIVE_INFINITY))).toBe(Number.POSITIVE_INFINITY);
  });
});
