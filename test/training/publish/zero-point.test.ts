import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../../src/onnx/builder.ts';
import { prepare } from '../../../src/onnx/prepare.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { lastBias, zeroPoint } from '../../../src/training/publish/zero-point.ts';
import { tinyEncoder } from '../../support/tiny-encoder.ts';

const scores = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 30 });

describe('zeroPoint', () => {
  it('is the middle of two scores', () => {
    expect(zeroPoint([3], [-1])).toBeCloseTo(-1, 3);
    expect(zeroPoint([-12, -12], [-16])).toBeCloseTo(14, 3);
  });

  it('lies between passages that the model tells apart, however many there are of each', () => {
    const b = zeroPoint([-8, -7.5], [-12, -13, -14, -12.5, -13.3, -12.2]);
    expect(b).toBeGreaterThan(8);
    expect(b).toBeLessThan(12);
  });

  it('confuses both kinds to the same extent', () => {
    fc.assert(
      fc.property(scores, scores, (relevant, others) => {
        const b = zeroPoint(relevant, others);
        const mean = (x: number[], sign: number) =>
          x.reduce((sum, s) => sum + 1 / (1 + Math.exp(-sign * (s + b))), 0) / x.length;
        expect(Math.abs(mean(relevant, -1) - mean(others, 1))).toBeLessThan(1e-3);
      }),
      { seed: 1 },
    );
  });

  it('falls as scores rise', () => {
    fc.assert(
      fc.property(scores, scores, fc.double({ min: -10, max: 10, noNaN: true }), (relevant, others, by) => {
        const moved = zeroPoint(
          relevant.map((s) => s + by),
          others.map((s) => s + by),
        );
        expect(Math.abs(moved + by - zeroPoint(relevant, others))).toBeLessThan(1e-2);
      }),
      { seed: 1 },
    );
  });
});

describe('lastBias', () => {
  it('finds that of a head', async () => {
    const { model, weights } = await prepare(tinyEncoder(), { output: 'logits' });
    expect(lastBias(model.graph, 'logits')).toBe(weights.at(-1)!.tensor);
  });

  it('finds none where nothing is added last', () => {
    const g = new GraphBuilder();
    g.initializer('w', float32([4, 1], [1, 2, 3, 4]));
    g.output(g.op('MatMul', [g.input('x', 'float32', ['rows', 4]), 'w']), 'float32', undefined, 'logits');
    expect(lastBias(g.build(), 'logits')).toBeUndefined();
  });
});
