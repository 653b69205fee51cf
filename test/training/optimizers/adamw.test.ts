import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { openRunner } from '../../../src/onnx/runner.ts';
import { float32, numbers } from '../../../src/onnx/tensor.ts';
import { adamw, clipFactor, globalNorm, stepScalars } from '../../../src/training/optimizers/adamw.ts';
import { scheduleFactor } from '../../../src/training/optimizers/schedules.ts';

const OPTIONS = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

/** Two weights (the second without decay) through one graph of the optimizer. */
async function optimizer() {
  const g = new GraphBuilder('adamw');
  const scalars = Object.fromEntries(
    ['learningRate', 'stepSize', 'secondScale'].map((n) => [n, g.input(n, 'float32', [])]),
  ) as Record<'learningRate' | 'stepSize' | 'secondScale', string>;
  const names = ['a', 'b'].map((w) => ({
    w,
    inputs: Object.fromEntries(
      ['weight', 'gradient', 'firstMoment', 'secondMoment'].map((k) => [k, g.input(`${w}.${k}`, 'float32', ['n'])]),
    ),
  }));
  const norm = globalNorm(
    g,
    names.map(({ w }) => `${w}.gradient`),
  );
  const factor = clipFactor(g, norm, OPTIONS.clipNorm);
  for (const { w, inputs } of names) {
    const out = adamw(
      g,
      {
        ...(inputs as never as { weight: string; gradient: string; firstMoment: string; secondMoment: string }),
        decays: w === 'a',
      },
      { ...scalars, factor },
      OPTIONS,
    );
    for (const [k, value] of Object.entries(out)) g.output(value, 'float32', ['n'], `${w}.${k}.next`);
  }
  g.output(norm, 'float32', [], 'norm');
  return openRunner(modelOf(g.build()));
}

/** The published algorithm over doubles. */
function reference(
  w: number[],
  gradients: number[][],
  lr: (k: number) => number,
  decay: number,
  clip: (k: number) => number,
): number[] {
  const x = [...w];
  const m = w.map(() => 0);
  const v = w.map(() => 0);
  gradients.forEach((raw, i) => {
    const k = i + 1;
    raw.forEach((value, j) => {
      const g = value * clip(i);
      x[j]! *= 1 - lr(k) * decay;
      m[j] = 0.9 * m[j]! + 0.1 * g;
      v[j] = 0.999 * v[j]! + 0.001 * g * g;
      x[j]! -= ((lr(k) / (1 - 0.9 ** k)) * m[j]!) / (Math.sqrt(v[j]!) / Math.sqrt(1 - 0.999 ** k) + 1e-8);
    });
  });
  return x;
}

describe('adamw', () => {
  it('follows the algorithm over ten steps, decay and clipping included', async () => {
    const runner = await optimizer();
    const value = fc
      .double({ min: -3, max: 3, noNaN: true })
      .filter((x) => Math.abs(x) > 1e-3)
      .map(Math.fround);
    const vector = fc.array(value, { minLength: 4, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        vector,
        vector,
        fc.array(fc.tuple(vector, vector), { minLength: 10, maxLength: 10 }),
        async (a, b, gradients) => {
          const lr = (k: number) => 1e-2 * Math.min(k / 3, (10 - k) / 7);
          let state = Object.fromEntries(
            [['a', a] as const, ['b', b] as const].flatMap(([w, x]) => [
              [`${w}.weight`, float32([4], x)],
              [`${w}.firstMoment`, float32([4], [0, 0, 0, 0])],
              [`${w}.secondMoment`, float32([4], [0, 0, 0, 0])],
            ]),
          );
          for (const [i, [ga, gb]] of gradients.entries()) {
            const scalars = Object.fromEntries(
              Object.entries(stepScalars(lr(i + 1), i + 1, OPTIONS)).map(([n, x]) => [n, float32([], [x])]),
            );
            const out = await runner.run({
              ...state,
              ...scalars,
              'a.gradient': float32([4], ga),
              'b.gradient': float32([4], gb),
            });
            state = Object.fromEntries(
              Object.entries(out)
                .filter(([n]) => n.endsWith('.next'))
                .map(([n, t]) => [n.replace(/\.next$/, ''), t]),
            );
          }
          const clip = (i: number) => Math.min(1, 1 / (Math.hypot(...gradients[i]!.flat()) + 1e-6));
          const expected = {
            a: reference(
              a,
              gradients.map(([x]) => x),
              lr,
              0.01,
              clip,
            ),
            b: reference(
              b,
              gradients.map(([, x]) => x),
              lr,
              0,
              clip,
            ),
          };
          for (const w of ['a', 'b'] as const)
            for (const [j, x] of numbers(state[`${w}.weight`]!).entries())
              expect(Math.abs(x - expected[w][j]!)).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 20 },
    );
    await runner.close();
  });
});

describe('scheduleFactor', () => {
  it.each(['linear', 'cosine'] as const)('%s ends at the floor', (name) => {
    const at = (step: number) => scheduleFactor({ name, warmup: 2, total: 12, floor: 0.1 }, step);
    expect(at(12)).toBeCloseTo(0.1, 12);
    expect(at(2)).toBe(1);
    expect(at(1)).toBe(0.5);
    expect(at(7)).toBeCloseTo(0.55, 12);
  });

  it('linear: rises over the warm-up and falls to 0 at the last step', () => {
    const factors = Array.from({ length: 10 }, (_, i) =>
      scheduleFactor({ name: 'linear', warmup: 3, total: 10 }, i + 1),
    );
    for (const [i, f] of factors.entries()) expect(f).toBeCloseTo(Math.min((i + 1) / 3, (10 - (i + 1)) / 7), 12);
  });
  it('cosine is half way down in the middle', () =>
    expect(scheduleFactor({ name: 'cosine', warmup: 0, total: 100 }, 50)).toBeCloseTo(0.5, 12));
  it('constant stays', () => expect(scheduleFactor({ name: 'constant', warmup: 0, total: 10 }, 10)).toBe(1));
  it('no warm-up starts at the peak’s decay', () =>
    expect(scheduleFactor({ name: 'linear', warmup: 0, total: 4 }, 1)).toBe(0.75));
});
