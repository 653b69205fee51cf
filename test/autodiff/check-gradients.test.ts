import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CheckReport, checkGradients } from '../../src/autodiff/check-gradients.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { float32 } from '../../src/onnx/tensor.ts';
import { OBJECTIVES } from '../../src/training/objectives/catalog.ts';
import { OBJECTIVE_ROWS, objectiveLoss } from '../../src/training/objectives/check-objective.ts';
import { tinyEncoder } from '../support/tiny-encoder.ts';

describe('checkGradients', () => {
  it('passes every weight of an encoder, with errors far below the allowed ones', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const report = await checkGradients(model, weights);
    expect(report.passed).toBe(true);
    expect(report.weights).toHaveLength(weights.length);
    expect(report.unreached).toEqual([]);
    expect(report.weights[0]!.ratio).toBeLessThan(0.05);
    expect(report.globalNorm).toBeGreaterThan(0.1);
  });

  it.each([...OBJECTIVES.keys()])('passes through %s', async (name) => {
    const { model, weights } = await prepare(tinyEncoder());
    const report = await checkGradients(model, weights, { loss: objectiveLoss(name), rows: OBJECTIVE_ROWS });
    expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  });

  it('finds the weight whose gradient is wrong, and names the node that reads it', async () => {
    // Floor has gradient 0 by its rule, but after a factor of a million it follows x: the derivative of `wrong` is twice its gradient.
    const g = new GraphBuilder();
    g.input('x', 'float32', ['batch', 3]);
    const steep = 1e6;
    const scaled = g.op(
      'MatMul',
      ['x', g.initializer('wrong.weight', float32([3, 2], [0.3, -0.2, 0.5, 0.7, -0.1, 0.4]))],
      {},
      { name: 'bad/MatMul' },
    );
    const steps = g.div(g.op('Floor', [g.mul(scaled, g.scalar(steep))]), g.scalar(steep));
    const both = g.add(scaled, steps);
    const logits = g.matmul(both, g.initializer('right.weight', float32([2, 1], [1, -1])));
    g.output(logits, 'float32', ['batch', 1], 'logits');
    const { model, weights } = await prepare(modelOf(g.build()));
    const loss = (b: GraphBuilder, y: string) =>
      b.reduceSum(b.mul(y, b.constant(float32([4, 1], [1, 2, -1, 3]))), undefined, false);
    const report = await checkGradients(shift(model), weights, { loss });
    expect(report.passed).toBe(false);
    expect(report.weights[0]).toMatchObject({ weight: 'wrong.weight', node: 'bad/MatMul' });
    expect(report.weights[0]!.ratio).toBeGreaterThan(100);
    expect(report.weights.find((w) => w.weight === 'right.weight')!.ratio).toBeLessThan(1);
  });
});

/** Replaces x by x + a fixed row, so that a batch of zeros is not trivial. */
function shift(model: Awaited<ReturnType<typeof prepare>>['model']) {
  const g = new GraphBuilder();
  g.input('x', 'float32', ['batch', 3]);
  for (const [name, value] of model.graph.initializers) g.initializer(name, value);
  const moved = g.op('Add', ['x', g.initializer('shift', float32([3], [0.7, -1.1, 0.4]))], {}, { name: 'shifting' });
  const [node, ...rest] = model.graph.nodes;
  g.append({ ...node!, inputs: node!.inputs.map((i) => (i === 'x' ? moved : i)) });
  for (const n of rest) g.append(n);
  g.output('logits', 'float32', ['batch', 1]);
  return { ...model, graph: g.build() };
}

describe('winnow gradcheck', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'winnow-gradcheck-'));
    await mkdir(join(folder, 'good'));
    await writeModel(join(folder, 'good', 'model.onnx'), tinyEncoder());
    await writeFile(join(folder, 'good', 'config.json'), JSON.stringify({ model_type: 'bert', hidden_size: 8 }));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const run = (...args: readonly string[]) =>
    promisify(execFile)(process.execPath, [join(import.meta.dirname, '../../src/cli/winnow.ts'), 'gradcheck', ...args]);

  it('prints the worst weights, and everything as JSON', async () => {
    const { stdout } = await run(join(folder, 'good'), '--objective', 'InfoNCE', '--freeze', 'w1');
    expect(stdout).toMatch(/^ +relative +gradient +weight +shape +read by\nok /);
    expect(stdout).toMatch(/\d+ weights, 0 wrong, norm of all gradients/);
    const report = JSON.parse((await run(join(folder, 'good'), '--json')).stdout) as CheckReport;
    expect(report.passed).toBe(true);
    expect(report.weights.map((w) => w.tensor)).toContain('w2');
  });

  it('names an objective it does not know and a folder without a model', async () => {
    await expect(run(join(folder, 'good'), '--objective', 'Nonsense')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Nonsense'),
    });
    await expect(run(join(folder, 'absent'))).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('model.onnx'),
    });
  });
});
