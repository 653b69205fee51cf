import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readModel } from '../../../src/onnx/model-file.ts';
import { prepare } from '../../../src/onnx/prepare.ts';
import { squareSum } from '../../../src/training/optimizers/adamw-kernel.ts';
import {
  FIRST_SCALE,
  type LossScale,
  nextScale,
  PATIENCE,
  skips,
} from '../../../src/training/optimizers/loss-scale.ts';
import { halfProducts } from '../../../src/training/step/precision.ts';
import { createRowSums } from '../../../src/training/step/tables.ts';
import { goldenBatch, goldenStepper, relative, type Way, wrongNorms } from '../../support/golden-stepper.ts';
import { fixtureFamilies, golden, NO_FIXTURES } from '../../support/training-fixtures.ts';

const families = NO_FIXTURES ? [] : fixtureFamilies();

describe.skipIf(NO_FIXTURES)(
  `other ways to take steps, against PyTorch (needs the fixtures; ${NO_FIXTURES || 'found'})`,
  () => {
    for (const way of ['host', 'loop', 'packed'] satisfies Way[])
      it.each(families)(`${way}: $name repeats losses, norms and final weights`, async (family) => {
        const g = golden(family);
        const name = family.exports[0]!;
        const stepper = await goldenStepper(way, family.path(name), g, g.adamw.objective);
        const batches = [goldenBatch(g)];
        const results = await stepper.run(
          g.adamw.steps.map(({ step, lr }) => ({ batches, step, rates: { backbone: lr, head: lr } })),
        );
        for (const [i, expected] of g.adamw.steps.entries()) {
          expect(relative(results[i]!.loss, expected.loss), `loss of step ${expected.step}`).toBeLessThan(1e-4);
          expect(relative(results[i]!.norm!, expected.gradient_norm), `norm of step ${expected.step}`).toBeLessThan(
            1e-4,
          );
        }
        expect(wrongNorms(family, name, g, stepper.state())).toEqual([]);
      });

    it('the Loop gives what single steps give, to 1e-6', async () => {
      const family = families.find((f) => f.name === 'bert') ?? families[0]!;
      const g = golden(family);
      const [single, loop] = await Promise.all(
        (['graph', 'loop'] as const).map((way) =>
          goldenStepper(way, family.path(family.exports[0]!), g, g.adamw.objective),
        ),
      );
      const steps = g.adamw.steps.map(({ step, lr }) => ({
        batches: [goldenBatch(g)],
        step,
        rates: { backbone: lr, head: lr },
      }));
      const [a, b] = [await single!.run(steps), await loop!.run(steps)];
      for (const [i, expected] of a.entries()) expect(relative(b[i]!.loss, expected.loss)).toBeLessThan(1e-6);
    });
  },
);

describe.skipIf(NO_FIXTURES)(`float16 products (needs the fixtures; ${NO_FIXTURES || 'found'})`, () => {
  // The engine computes float16 on a CPU by casts around each product, so the rounding of operands and results is real.
  it.each(families)('$name: losses and norms stay near those of float32', async (family) => {
    const g = golden(family);
    const stepper = await goldenStepper('graph', family.path(family.exports[0]!), g, g.adamw.objective, 'fp16');
    for (const { step, lr, loss, gradient_norm } of g.adamw.steps.slice(0, 3)) {
      const got = await stepper.step([goldenBatch(g)], step, { backbone: lr, head: lr });
      expect(got.skipped).toBe(false);
      expect(relative(got.loss, loss)).toBeLessThan(2e-2);
      expect(relative(got.norm!, gradient_norm)).toBeLessThan(5e-2);
    }
  });

  it('all products are in float16, and nothing else is', async () => {
    const { model } = await prepare(await readModel(families[0]!.path(families[0]!.exports[0]!)));
    const casts = halfProducts(model);
    const wide = new Set(casts.graph.nodes.filter((n) => n.op === 'Cast').map((n) => n.outputs[0]!));
    const products = casts.graph.nodes.filter((n) => /MatMul|Gemm/.test(n.op));
    expect(products.length).toBe(model.graph.nodes.filter((n) => /MatMul|Gemm/.test(n.op)).length);
    for (const node of products) expect(node.inputs.every((i) => i === '' || wide.has(i))).toBe(true);
  });

  it.each(['graph', 'host', 'loop'] as const)(
    '%s: an overflow leaves the state alone and halves the scale',
    async (way) => {
      const family = families[0]!;
      const g = golden(family);
      const batch = goldenBatch(g);
      const broken = { ...batch, teacher: batch.teacher.map(() => Number.POSITIVE_INFINITY) };
      const stepper = await goldenStepper(way, family.path(family.exports[0]!), g, 'MarginMSE', 'fp16');
      const before = new Map([...stepper.state()].map(([name, x]) => [name, Float32Array.from(x)]));
      const left = await stepper.step([broken], 1, { backbone: 1e-3, head: 1e-3 });
      expect(left.skipped).toBe(true);
      expect(stepper.lossScale()).toEqual({ scale: 512, good: 0, skipped: 1 });
      expect(stepper.state()).toEqual(before);
      const taken = await stepper.step([batch], 2, { backbone: 1e-3, head: 1e-3 });
      expect(taken.skipped).toBe(false);
      expect([...stepper.state().values()].every((x) => x.every(Number.isFinite))).toBe(true);
    },
  );
});

describe('loss scale', () => {
  it('halves at an overflow, doubles after many good steps, stays between 1 and 2^24', () => {
    expect(nextScale(FIRST_SCALE, false)).toEqual({ scale: FIRST_SCALE.scale / 2, good: 0, skipped: 1 });
    const good = Array.from({ length: PATIENCE }).reduce<LossScale>((s) => nextScale(s, true), FIRST_SCALE);
    expect(good).toEqual({ scale: FIRST_SCALE.scale * 2, good: 0, skipped: 0 });
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (outcomes) => {
        const end = outcomes.reduce<LossScale>(nextScale, FIRST_SCALE);
        expect(end.scale).toBeGreaterThanOrEqual(1);
        expect(end.scale).toBeLessThanOrEqual(2 ** 24);
        expect(end.skipped).toBe(outcomes.filter((finite) => !finite).length);
      }),
    );
  });
  it('at 1 an overflow is a fault, not a skipped step', () => {
    expect(skips({ scale: 2, good: 0, skipped: 0 }, false)).toBe(true);
    expect(skips({ scale: 1, good: 0, skipped: 0 }, false)).toBe(false);
    expect(skips(FIRST_SCALE, true)).toBe(false);
  });
});

describe('row sums', () => {
  it('are the sums by id for any order and repetition of ids, and are zero after clear', () => {
    const sums = createRowSums([50, 3]);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: -50, max: 49 }), fc.integer({ min: -9, max: 9 }))), (tokens) => {
        sums.clear();
        const gradients = Float32Array.from(tokens.flatMap(([, x]) => [x, 2 * x, -x]));
        sums.add(
          BigInt64Array.from(tokens, ([id]) => BigInt(id)),
          gradients,
        );
        const dense = new Float32Array(150);
        for (const [id, x] of tokens)
          for (const [i, g] of [x, 2 * x, -x].entries()) dense[((id + 50) % 50) * 3 + i]! += g;
        for (let id = 0; id < 50; id++)
          expect([...(sums.row(id) ?? [0, 0, 0])].map((x) => x + 0)).toEqual(
            [...dense.subarray(3 * id, 3 * id + 3)].map((x) => x + 0),
          );
        expect(sums.squares()).toBeCloseTo(squareSum(dense), 6);
      }),
    );
  });
});
