import { describe, expect, it } from 'vitest';
import { differentiate } from '../../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { probeShapes } from '../../../src/onnx/probe.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers } from '../../../src/onnx/tensor.ts';
import { createObjective, OBJECTIVES, type ObjectiveSpec } from '../../../src/training/objectives/catalog.ts';
// Losses and gradients of the formulas, written anew in PyTorch 2.15 in float64: three lists of 6, 3 and 4 passages, with ties.
import pytorch from './pytorch-objectives.json' with { type: 'json' };
// The same lists with weights, as BCEWithLogitsLoss(weight=w) has them: the mean of w·loss.
import weighted from './pytorch-weights.json' with { type: 'json' };

interface Case {
  readonly objective: ObjectiveSpec;
  readonly relevance: string;
  readonly weights?: string;
  readonly loss: number;
  readonly gradient: Matrix;
}
type Matrix = readonly (readonly number[])[];

/** Objectives whose weights come from an own source of truth. */
const ELSEWHERE = ['LambdaLoss'];

const nameOf = (spec: ObjectiveSpec): string =>
  typeof spec === 'string' ? spec : 'name' in spec && typeof spec.name === 'string' ? spec.name : 'sum';

const weightsOf = (kind: string): readonly number[] =>
  (kind === 'passages' ? weighted.passages : weighted.lists).flat();

/** Computes loss and gradient with respect to the scores by the engine, padding included. */
async function lossAndGradient({ objective, relevance, weights }: Case, scale = 1) {
  const dims = [pytorch.lengths.length, Math.max(...pytorch.lengths)];
  const g = new GraphBuilder('loss');
  const input = (name: string): string => g.input(name, 'float32', ['Q', 'n']);
  const values = {
    scores: input('scores'),
    relevance: input('relevance'),
    teacher: input('teacher'),
    valid: input('valid'),
    ...(weights !== undefined && { weight: input('weight') }),
  };
  const loss = createObjective(objective).build(g, values);
  g.output(loss, 'float32', [], 'loss');
  const of = (x: Matrix) => float32(dims, x.flat());
  const feeds = {
    scores: of(pytorch.scores),
    relevance: of(relevance === 'soft' ? pytorch.soft : pytorch.grades),
    teacher: of(pytorch.teacher),
    valid: of(pytorch.lengths.map((length) => pytorch.scores[0]!.map((_, i) => +(i < length)))),
    ...(weights !== undefined && {
      weight: float32(
        dims,
        weightsOf(weights).map((w) => scale * w),
      ),
    }),
  };
  const graph = g.build();
  const shapes = await probeShapes(modelOf(graph), feeds);
  const backward = differentiate(graph, { of: loss, wrt: ['scores'], shapes });
  const all = GraphBuilder.from(backward.graph);
  all.output(backward.gradients.get('scores')!, 'float32', undefined, 'gradient');
  const results = await runOnce(modelOf(all.build()), feeds);
  return { loss: numbers(results.loss!)[0]!, gradient: [...numbers(results.gradient!)] };
}

describe('losses and gradients are those of PyTorch in float64', () => {
  it('for every objective', () => {
    const covered = pytorch.cases.map(({ objective }) => nameOf(objective));
    expect([...OBJECTIVES.keys()].filter((name) => !covered.includes(name))).toEqual(ELSEWHERE);
  });

  const near = ({ loss, gradient }: Awaited<ReturnType<typeof lossAndGradient>>, each: Case, scale = 1) => {
    expect(Math.abs(loss - scale * each.loss)).toBeLessThan(2e-6 * Math.max(1, Math.abs(each.loss)));
    const expected = each.gradient.flat();
    expect(gradient.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(Math.abs(gradient[i]! - scale * value)).toBeLessThan(2e-6);
  };

  it.each(pytorch.cases.map((each) => [JSON.stringify(each.objective), each] as const))('%s', async (_, each) =>
    near(await lossAndGradient(each), each),
  );

  it('for every objective with weights', () => {
    const covered = weighted.cases.map(({ objective }) => nameOf(objective));
    expect([...OBJECTIVES.keys()].filter((name) => !covered.includes(name))).toEqual([]);
    const objectiveOf = (spec: ObjectiveSpec) => createObjective(spec).needs.weights;
    for (const { objective, weights } of weighted.cases) expect(objectiveOf(objective)).toBe(weights);
  });

  it.each(weighted.cases.map((each) => [JSON.stringify(each.objective), each] as const))(
    '%s with weights',
    async (_, each) => {
      near(await lossAndGradient(each), each);
      // A batch whose weights are all 0 has no loss and no gradient.
      const nothing = await lossAndGradient(each, 0);
      expect(nothing.loss).toBe(0);
      expect(nothing.gradient.every((x) => x === 0)).toBe(true);
    },
  );
});
