import { describe, expect, it } from 'vitest';
import { RULES } from '../../src/autodiff/rules/index.ts';
import { float32, type Tensor } from '../../src/onnx/tensor.ts';
import { checkRule } from '../support/central-differences.ts';
import { elementwise } from './cases/elementwise.ts';
import { products } from './cases/products.ts';
import { normalizations, reductions } from './cases/reductions.ts';
import { lookups, shapes } from './cases/shapes.ts';

/*
 * Every rule of the table against central differences in double precision, element by element.
 */

const CASES = [...elementwise, ...products, ...normalizations, ...reductions, ...shapes, ...lookups];

describe('gradient rules', () => {
  it.each(CASES)('$name', async ({ inputs, forward, wrt }) => {
    const { double, single } = await checkRule(inputs, forward, wrt);
    // Constants of the rules are float32: 6e-8 relative.
    expect(double).toBeLessThan(2e-7);
    expect(single).toBeLessThan(2e-5);
  });

  it('has a case for every op of the table', () => {
    const covered = new Set(CASES.flatMap((c) => c.covers));
    expect(Object.keys(RULES).filter((op) => !covered.has(op))).toEqual([]);
  });

  it('shares a tie between equal elements', async () => {
    const x = float32([4], [1, 3, 3, 2]);
    const { gradients } = await gradientsOfMax(x);
    expect(gradients).toEqual([0, 0.5, 0.5, 0]);
  });
});

async function gradientsOfMax(x: Tensor) {
  const check = await checkRule({ x }, (g) => g.mul(g.reduceMax('x', [0], false), g.scalar(1)), ['x']);
  const found = check.gradients.get('x')!;
  const total = found.reduce((sum, v) => sum + v, 0);
  return { gradients: found.map((v) => v / total) };
}
