import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder as Builder, GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';
import { findWeights, matches, unfrozen } from '../../src/onnx/weights.ts';

const ramp = (dims: readonly number[]) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + 1)),
  );

/** A model with all kinds of float initializers, parameters and others. */
function zoo() {
  const g = new GraphBuilder();
  g.input('x', 'float32', ['rows', 3]);
  g.initializer('onnx::MatMul_7', ramp([3, 4]));
  g.initializer('layer.dense.bias', ramp([4]));
  const linear = g.add(
    g.op('MatMul', ['x', 'onnx::MatMul_7'], {}, { name: '/layer/dense/MatMul' }),
    'layer.dense.bias',
  );
  g.initializer('onnx::MatMul_9', ramp([4, 4]));
  const inner = g.op('MatMul', [linear, 'onnx::MatMul_9'], {}, { name: '/layer/attn/Wo/MatMul' });
  g.initializer('rotary.inv_freq', ramp([4]));
  g.initializer('phase', ramp([4]));
  const rotated = g.mul(g.mul(inner, g.op('Cos', ['phase'])), g.op('Sin', ['rotary.inv_freq']));
  g.initializer('mask.table', float32([1, 4], [0, -3.4e38, 0, 0]));
  const masked = g.add(rotated, g.mul('mask.table', g.scalar(0)));
  g.initializer('scale', float32([1], [0.5]));
  g.initializer('norm.weight', ramp([4]));
  const normed = g.op('LayerNormalization', [g.mul(masked, 'scale'), 'norm.weight'], { axis: -1 });
  g.initializer('classifier.weight', ramp([1, 4]));
  g.initializer('classifier.bias', float32([1], [0.25]));
  g.initializer('left.over', ramp([2, 2]));
  g.output(
    g.op('Gemm', [normed, 'classifier.weight', 'classifier.bias'], { transB: 1 }),
    'float32',
    ['rows', 1],
    'logits',
  );
  return g.build();
}

describe('findWeights', () => {
  const found = findWeights(zoo());

  it('takes parameters, in the order of use, and no other float', () => {
    expect(found.map((w) => w.tensor)).toEqual([
      'onnx::MatMul_7',
      'layer.dense.bias',
      'onnx::MatMul_9',
      'norm.weight',
      'classifier.weight',
      'classifier.bias',
    ]);
  });

  it('names weights with generated names by their bias, else by the path of their node', () => {
    expect(found.map((w) => w.name).slice(0, 3)).toEqual([
      'layer.dense.weight',
      'layer.dense.bias',
      'layer.attn.Wo.weight',
    ]);
  });

  it('lets matrices decay, biases and normalizations not', () => {
    expect(found.filter((w) => w.decay).map((w) => w.name)).toEqual([
      'layer.dense.weight',
      'layer.attn.Wo.weight',
      'classifier.weight',
    ]);
  });

  it('includes and excludes by name', () => {
    const found = findWeights(zoo(), { include: ['scale', 'phase'], exclude: ['norm.*'] }).map((w) => w.tensor);
    expect(found).toContain('scale');
    expect(found).not.toContain('norm.weight');
    // Weights stop at Cos: what does not reach the output is never included.
    expect(found).not.toContain('phase');
  });

  it('freezes by part of a name or by pattern', () => {
    expect(unfrozen(found, ['dense', 'classifier.*']).map((w) => w.name)).toEqual([
      'layer.attn.Wo.weight',
      'norm.weight',
    ]);
    expect(matches(['layer.*.weight'], 'layer.dense.weight')).toBe(true);
    expect(matches(['layer.*.weight'], 'x.layer.dense.weight')).toBe(false);
    expect(matches(['onnx::MatMul_7'], 'onnx::MatMul_7')).toBe(true);
  });

  it('takes Constant nodes for weights only if they are matrices', async () => {
    const g = new Builder();
    g.input('x', 'float32', ['rows', 2]);
    const constant = (name: string, value: ReturnType<typeof ramp>): string => {
      g.append({
        op: 'Constant',
        domain: '',
        name,
        inputs: [],
        outputs: [name],
        attrs: { value: { kind: 'tensor', value } },
      });
      return name;
    };
    const product = g.matmul('x', constant('matrix', ramp([2, 2])));
    g.output(g.add(product, constant('zeros', float32([2], [0, 0]))), 'float32', ['rows', 2], 'logits');
    expect((await prepare(modelOf(g.build()))).weights.map((w) => w.tensor)).toEqual(['matrix']);
  });
});

describe('weights read through other nodes', () => {
  it.each([
    ['Transpose', (g: GraphBuilder) => g.transpose('w', [1, 0])],
    ['Cast', (g: GraphBuilder) => g.transpose(g.cast('w', 'float32'), [1, 0])],
    ['Identity', (g: GraphBuilder) => g.transpose(g.op('Identity', ['w']), [1, 0])],
  ])('%s: the gradient is that of the weight itself', async (_, through) => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['rows', 3]);
    g.initializer('w', ramp([2, 3]));
    const y = g.matmul('x', through(g));
    g.output(g.add(y, g.matmul('x', g.transpose('w', [1, 0]))), 'float32', ['rows', 2], 'logits');
    const { model, weights } = await prepare(modelOf(g.build()));
    expect(weights.map((w) => w.tensor)).toEqual(['w']);
    const b = GraphBuilder.from(model.graph, { outputs: false });
    const loss = b.reduceSum('logits', undefined, false);
    const x = float32([2, 3], [1, 2, 3, 4, 5, 6]);
    const shapes = await probeShapes({ ...model, graph: b.build() }, { x });
    const { graph, gradients } = differentiate(b.build(), { of: loss, wrt: ['w'], shapes });
    const out = GraphBuilder.from(graph, { outputs: false });
    const name = out.output(gradients.get('w')!);
    const result = await runOnce({ ...model, graph: out.build() }, { x });
    // Two readers, each Σ over rows of x.
    expect(numbers(result[name]!)).toEqual([10, 14, 18, 10, 14, 18]);
    expect(result[name]!.dims).toEqual([2, 3]);
  });

  it('keeps integer constants out', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['rows', 2]);
    g.initializer('table', tensor('int64', [2], [0, 1]));
    g.output(g.add('x', g.cast('table', 'float32')), 'float32', ['rows', 2], 'logits');
    expect(findWeights(g.build())).toEqual([]);
  });
});
