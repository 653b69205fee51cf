import { describe, expect, it } from 'vitest';
import { type AttributeLike, GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { freezeNode, type Graph, type Model, type ModelFunction, type Node } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { fuseBias } from '../../src/onnx/rewrites/bias.ts';
import { toFloat64, widenTensor } from '../../src/onnx/rewrites/double.ts';
import { foldConstants } from '../../src/onnx/rewrites/fold.ts';
import { fuseGelu, fuseLayerNorm, fuseScale } from '../../src/onnx/rewrites/fuse.ts';
import { dropIdentities, inlineConstants, inlineFunctions } from '../../src/onnx/rewrites/inline.ts';
import { raiseOpset } from '../../src/onnx/rewrites/opset.ts';
import { type Feeds, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, type Tensor, tensor } from '../../src/onnx/tensor.ts';

const wave = (dims: readonly number[], phase = 0): Tensor =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 1.7 * Math.sin(1.3 * i + phase)),
  );

const x = wave([2, 3, 4]);
const ops = (graph: Graph): string[] => graph.nodes.map((n) => n.op);
const near = (a: Tensor, b: Tensor): number => Math.max(...numbers(a).map((v, i) => Math.abs(v - numbers(b)[i]!)));

describe('raiseOpset', () => {
  interface Old {
    readonly op: string;
    readonly opset: number;
    readonly attrs: Readonly<Record<string, AttributeLike>>;
    readonly inputs?: readonly string[];
    readonly outputs?: number;
  }

  const floats = (value: number): AttributeLike => ({ kind: 'float', value });

  /** Compares models at their own opset with the raised ones, both run by the engine. */
  const cases: readonly Old[] = [
    { op: 'Unsqueeze', opset: 11, attrs: { axes: [0, 2] } },
    { op: 'Squeeze', opset: 11, attrs: {} },
    { op: 'ReduceSum', opset: 11, attrs: { axes: [-1], keepdims: 0 } },
    { op: 'ReduceSum', opset: 11, attrs: { keepdims: 0 } },
    { op: 'ReduceMean', opset: 13, attrs: { axes: [1, 2] } },
    { op: 'ReduceMax', opset: 13, attrs: { axes: [0], keepdims: 0 } },
    { op: 'ReduceMin', opset: 11, attrs: { axes: [2] } },
    { op: 'ReduceL2', opset: 13, attrs: { axes: [2] } },
    { op: 'ReduceLogSumExp', opset: 13, attrs: { axes: [2] } },
    { op: 'ReduceSumSquare', opset: 13, attrs: { axes: [2] } },
    { op: 'Split', opset: 11, attrs: { axis: 2, split: [1, 3] }, outputs: 2 },
    { op: 'Split', opset: 11, attrs: { axis: 2 }, outputs: 2 },
    { op: 'Split', opset: 13, attrs: { axis: 1 }, outputs: 3 },
    { op: 'Softmax', opset: 11, attrs: {} },
    { op: 'Softmax', opset: 11, attrs: { axis: 2 } },
    { op: 'Softmax', opset: 11, attrs: { axis: 1 } },
    { op: 'LogSoftmax', opset: 11, attrs: { axis: 0 } },
    { op: 'Clip', opset: 10, attrs: { min: floats(-0.5), max: floats(0.25) } },
    { op: 'Clip', opset: 10, attrs: { max: floats(0.25) } },
    { op: 'Pad', opset: 10, attrs: { pads: [0, 0, 1, 0, 0, 2], value: floats(3) } },
    { op: 'Slice', opset: 9, attrs: { starts: [1], ends: [3], axes: [1] } },
    { op: 'Slice', opset: 9, attrs: { starts: [0, 1], ends: [2 ** 63, 3] } },
    { op: 'TopK', opset: 9, attrs: { k: 2 }, outputs: 2 },
    { op: 'Gemm', opset: 9, attrs: {}, inputs: ['m', 'n', 'c'] },
  ];

  const feeds: Feeds = { x, m: wave([2, 3]), n: wave([3, 4]), c: wave([4]) };

  const model = ({ op, opset, attrs, inputs = ['x'], outputs = 1 }: Old): Model => {
    const g = new GraphBuilder();
    for (const name of inputs) g.input(name, 'float32', feeds[name]!.dims);
    g.ops(op, inputs, attrs, outputs, { name: 'old' }).forEach((value, i) => {
      g.output(value, undefined, undefined, `y${i}`);
    });
    return { ...modelOf(g.build(), opset), irVersion: 6 };
  };

  it.each(cases)('$op of opset $opset, $attrs', async (old) => {
    const before = model(old);
    for (const shapes of [undefined, await probeShapes(before, feeds)]) {
      const raised = raiseOpset(before, shapes);
      expect(raised.opsets['']).toBe(20);
      const [expected, got] = [await runOnce(before, feeds), await runOnce(raised, feeds)];
      for (const [name, value] of Object.entries(expected)) {
        expect(got[name]!.dims).toEqual(value.dims);
        expect(near(got[name]!, value)).toBeLessThan(1e-6);
      }
    }
  });

  it('adds no nodes around a Softmax over the last axis', async () => {
    const old = model({ op: 'Softmax', opset: 11, attrs: { axis: 2 } });
    expect(ops(raiseOpset(old, await probeShapes(old, feeds)).graph)).toEqual(['Softmax', 'Identity']);
    expect(ops(raiseOpset(old).graph)).toContain('Flatten');
  });

  it('raises the bodies of branches too, without hiding outer names', async () => {
    const branch = (axis: number): Graph => {
      const g = new GraphBuilder(`branch ${axis}`);
      g.output(g.op('ReduceMean', ['x'], { axes: [axis], keepdims: 0 }), 'float32', undefined, `mean ${axis}`);
      return g.build();
    };
    const g = new GraphBuilder();
    g.input('x', 'float32', x.dims);
    g.input('flag', 'bool', []);
    g.initializer('ints', tensor('int64', [2], [2, -1]));
    const chosen = g.op('If', ['flag'], { then_branch: branch(0), else_branch: branch(2) });
    g.output(g.reshape(chosen, 'ints'), 'float32', undefined, 'y');
    const before = modelOf(g.build(), 13);
    for (const flag of [0, 1]) {
      const given = { x: wave([4, 4, 4]), flag: tensor('bool', [], [flag]) };
      const free = {
        ...before,
        graph: { ...before.graph, inputs: before.graph.inputs.map((i) => ({ ...i, dims: i.dims!.map(() => null) })) },
      };
      expect((await runOnce(raiseOpset(free), given)).y).toEqual((await runOnce(free, given)).y);
    }
  });

  it('refuses what it cannot raise, naming the node', () => {
    const old = model({ op: 'Upsample', opset: 9, attrs: {} });
    expect(() => raiseOpset(old)).toThrow('node old: expected Upsample of opset 10 or later, got opset 9');
    expect(() => raiseOpset({ ...old, opsets: { '': 6 } })).toThrow('expected opset 7 or later, got 6');
  });

  it('leaves later models as they are', () => {
    const g = new GraphBuilder();
    const late = modelOf(g.build(), 23);
    expect(raiseOpset(late)).toBe(late);
  });
});

describe('inlining', () => {
  const node = (op: string, inputs: string[], outputs: string[], attrs = {}, domain = ''): Node =>
    freezeNode({ op, domain, name: `${op} of ${outputs[0]}`, inputs, outputs, attrs });

  it('functions: bodies with their own names, attributes of the call, calls within calls', async () => {
    const scaled: ModelFunction = {
      domain: 'mine',
      name: 'Scaled',
      overload: '',
      inputs: ['a'],
      outputs: ['b'],
      defaults: { slope: { kind: 'float', value: 3 } },
      nodes: [
        node('Neg', ['a'], ['t']),
        node('LeakyRelu', ['t'], ['b'], { alpha: { kind: 'reference', value: 'slope' } }),
      ],
    };
    const twice: ModelFunction = {
      ...scaled,
      name: 'Twice',
      defaults: {},
      nodes: [
        node('Scaled', ['a'], ['t'], { slope: { kind: 'float', value: 2 } }, 'mine'),
        node('Scaled', ['t'], ['b'], {}, 'mine'),
      ],
    };
    const g = new GraphBuilder();
    g.input('x', 'float32', [2]);
    g.append(node('Twice', ['x'], ['t'], {}, 'mine'));
    g.append(node('Twice', ['t'], ['y'], {}, 'mine'));
    g.output('y', 'float32', [2]);
    const model: Model = { ...modelOf(g.build()), functions: [scaled, twice] };
    const inlined = inlineFunctions(model);
    expect(inlined.graph.nodes).toHaveLength(8);
    expect(new Set(inlined.graph.nodes.flatMap((n) => n.outputs)).size).toBe(8);
    // f(v) = leaky(−v): slope 2 inside, 3 by default: x = 1 ↦ −2 ↦ 2 ↦ −4 ↦ 4; x = −1 ↦ 1 ↦ −3 ↦ 3 ↦ −9.
    expect(numbers((await runOnce(inlined, { x: float32([2], [1, -1]) })).y!)).toEqual([4, -9]);
  });

  it('constants of every form', () => {
    const g = new GraphBuilder();
    const forms = {
      value: wave([2]),
      value_float: { kind: 'float', value: 0.5 },
      value_int: { kind: 'int', value: 7 },
      value_floats: { kind: 'floats', value: [0.5, 1] },
      value_ints: { kind: 'ints', value: [7, 8] },
    } as const;
    for (const [form, value] of Object.entries(forms))
      g.output(g.op('Constant', [], { [form]: value }, { name: form }));
    const { nodes, initializers } = inlineConstants(g.build());
    expect(nodes).toEqual([]);
    expect([...initializers.values()].map((v) => [v.dtype, v.dims])).toEqual([
      ['float32', [2]],
      ['float32', []],
      ['int64', []],
      ['float32', [2]],
      ['int64', [2]],
    ]);
  });

  it('identities and dropout outside training, but not outputs', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2]);
    g.initializer('w', wave([2]));
    const shared = g.op('Identity', [g.op('Identity', ['w'])]);
    const resting = g.op('Dropout', [g.add('x', shared), g.scalar(0.5)]);
    const working = g.op('Dropout', [resting, g.scalar(0.5), g.constant(tensor('bool', [], [1]))]);
    g.output(g.mul(working, 'w'), 'float32', [2], 'y');
    const { nodes } = dropIdentities(g.build());
    expect(nodes.map((n) => n.op)).toEqual(['Add', 'Dropout', 'Mul', 'Identity']);
    expect(nodes[0]!.inputs).toEqual(['x', 'w']);
  });
});

describe('foldConstants', () => {
  it('computes once what depends on constants alone, and nothing that depends on weights', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    g.initializer('w', wave([2, 2]));
    const size = g.cast(g.op('Size', [g.initializer('table', wave([3, 3]))]), 'float32');
    const turned = g.transpose('w', [1, 0]);
    g.output(g.mul(g.matmul('x', turned), g.sqrt(g.add(size, g.scalar(7)))), 'float32', [2, 2], 'y');
    const model = modelOf(g.build());
    const folded = await foldConstants(model, new Set(['w']));
    expect(ops(folded.graph)).toEqual(['Transpose', 'MatMul', 'Mul', 'Identity']);
    expect([...folded.graph.initializers.keys()]).not.toContain('table');
    expect((await runOnce(folded, { x: wave([2, 2], 1) })).y).toEqual((await runOnce(model, { x: wave([2, 2], 1) })).y);
  });

  it('leaves random numbers and large results alone', async () => {
    const g = new GraphBuilder();
    g.output(g.op('RandomUniform', [], { shape: [2] }), 'float32', [2]);
    g.output(g.expand(g.scalar(1), [2048, 1024]), 'float32', [2048, 1024]);
    const folded = await foldConstants(modelOf(g.build()));
    expect(ops(folded.graph)).toEqual(['RandomUniform', 'Expand']);
  });
});

describe('fusions', () => {
  interface Norm {
    readonly square?: 'Pow' | 'Mul';
    readonly shared?: boolean;
    readonly beta?: boolean;
    readonly axis?: number;
    readonly gamma?: readonly number[];
  }

  const norm = ({ square = 'Pow', shared = true, beta = true, axis = -1, gamma = [4] }: Norm = {}): Model => {
    const g = new GraphBuilder();
    g.input('x', 'float32', x.dims);
    const center = () => g.sub('x', g.reduceMean('x', [axis]));
    const centered = center();
    const other = shared ? centered : center();
    const squared = square === 'Pow' ? g.op('Pow', [other, g.scalar(2)]) : g.mul(other, other);
    const deviation = g.sqrt(g.add(g.reduceMean(squared, [axis]), g.scalar(1e-3)));
    const scaled = g.mul(g.initializer('gamma', wave(gamma, 2)), g.div(centered, deviation));
    g.output(beta ? g.add(scaled, g.initializer('beta', wave([4], 3))) : scaled, 'float32', undefined, 'y');
    return modelOf(g.build());
  };

  it.each([{}, { square: 'Mul' }, { shared: false }, { beta: false }] as const)(
    'a layer norm spelt out: %o',
    async (form) => {
      const model = norm(form);
      const graph = fuseLayerNorm(model.graph);
      expect(ops(graph)).toEqual(['LayerNormalization', 'Identity']);
      expect(near((await runOnce({ ...model, graph }, { x })).y!, (await runOnce(model, { x })).y!)).toBeLessThan(1e-5);
    },
  );

  it.each([{ axis: 1 }, { gamma: [3, 4] }] as const)('what only looks like a layer norm stays: %o', (form) => {
    expect(ops(fuseLayerNorm(norm(form).graph))).not.toContain('LayerNormalization');
  });

  const gelus: Readonly<Record<string, (g: GraphBuilder, erf: (scaled: string) => string) => string>> = {
    'x·(1 + erf)·½': (g, erf) => g.mul(g.mul('x', erf(g.div('x', g.scalar(Math.SQRT2)))), g.scalar(0.5)),
    '½·x·(1 + erf)': (g, erf) => g.mul(g.mul(g.scalar(0.5), 'x'), erf(g.div('x', g.scalar(1.4142099618911743)))),
    '(½·(1 + erf))·x': (g, erf) => g.mul(g.mul(erf(g.mul('x', g.scalar(Math.SQRT1_2))), g.scalar(0.5)), 'x'),
  };

  it.each(Object.keys(gelus))('a GELU written %s', async (form) => {
    const g = new GraphBuilder();
    g.input('x', 'float32', x.dims);
    g.output(
      gelus[form]!(g, (scaled) => g.add(g.op('Erf', [scaled]), g.scalar(1))),
      'float32',
      undefined,
      'y',
    );
    const model = modelOf(g.build());
    const graph = fuseGelu(model.graph);
    expect(ops(graph)).toEqual(['Gelu', 'Identity']);
    expect(near((await runOnce({ ...model, graph }, { x })).y!, (await runOnce(model, { x })).y!)).toBeLessThan(1e-5);
  });

  it('an erf for something else stays', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', x.dims);
    g.output(g.mul('x', g.add(g.op('Erf', [g.div('x', g.scalar(2))]), g.scalar(1))), 'float32', undefined, 'y');
    expect(ops(fuseGelu(g.build()))).not.toContain('Gelu');
  });
});

describe('toFloat64', () => {
  it('has erf to the last digits', async () => {
    const g = new GraphBuilder();
    g.input('v', 'float32', [5]);
    g.output(g.op('Erf', ['v']), 'float32', [5], 'y');
    const v = float32([5], [0, 0.5, -1, 2.5, 9]);
    const model = modelOf(g.build());
    const wide = toFloat64(model, await probeShapes(model, { v }));
    // Abramowitz and Stegun, table 7.1, and its tail.
    const expected = [0, 0.5204998778130465, -0.8427007929497149, 0.999593047982555, 1];
    const got = numbers((await runOnce(wide, { v: widenTensor(v) })).y!);
    for (const [i, e] of expected.entries()) expect(Math.abs(got[i]! - e)).toBeLessThan(1e-14);
  });

  it.each(['Gelu', 'Softplus', 'Cos', 'Tanh', 'Ceil', 'LayerNormalization'])(
    '%s agrees with single precision',
    async (op) => {
      const g = new GraphBuilder();
      g.input('x', 'float32', x.dims);
      g.output(
        g.op(op, op === 'LayerNormalization' ? ['x', g.initializer('gamma', wave([4], 1))] : ['x']),
        'float32',
        undefined,
        'y',
      );
      const model = modelOf(g.build());
      const wide = toFloat64(model, await probeShapes(model, { x }));
      const got = (await runOnce(wide, { x: widenTensor(x) })).y!;
      expect(got.dtype).toBe('float64');
      expect(near(got, (await runOnce(model, { x })).y!)).toBeLessThan(2e-6);
    },
  );
});

describe('fuseScale', () => {
  const build = (finish: (g: GraphBuilder, product: string) => string, weight = false) => {
    const g = new GraphBuilder();
    const [q, k] = [g.input('q', 'float32', [2, 3, 4]), weight ? g.initializer('k', wave([4, 5], 2)) : 'k'];
    if (!weight) g.input('k', 'float32', [2, 4, 5]);
    g.output(finish(g, g.op('MatMul', [q, k])), 'float32', undefined, 'y');
    return modelOf(g.build());
  };
  const feeds = { q: wave([2, 3, 4], 1), k: wave([2, 4, 5], 2) };

  it.each([
    ['Div', (g: GraphBuilder, p: string) => g.div(p, g.scalar(8))],
    ['Mul', (g: GraphBuilder, p: string) => g.mul(p, g.scalar(0.125))],
    ['Mul from the left', (g: GraphBuilder, p: string) => g.mul(g.scalar(0.125), p)],
  ] as const)('a product of two states with a constant factor: %s', async (_, finish) => {
    const model = build(finish);
    const graph = fuseScale(model.graph);
    expect(ops(graph)).toEqual(['FusedMatMul', 'Identity']);
    expect(near((await runOnce({ ...model, graph }, feeds)).y!, (await runOnce(model, feeds)).y!)).toBeLessThan(1e-6);
  });

  it.each([
    ['a product that others read', build((g, p) => g.add(g.div(p, g.scalar(8)), p))],
    ['a factor that is no constant', build((g, p) => g.mul(p, g.reduceSum(p, undefined, false)))],
    ['a linear layer, whose weight has a name', build((g, p) => g.div(p, g.scalar(8)), true)],
  ] as const)('%s stays', (_, model) => {
    expect(ops(fuseScale(model.graph))).not.toContain('FusedMatMul');
  });
});

describe('fuseBias', () => {
  const build = (finish: (g: GraphBuilder, x: string) => string) => {
    const g = new GraphBuilder();
    g.output(finish(g, g.input('x', 'float32', ['batch', 'length', 4])), 'float32', undefined, 'y');
    return modelOf(g.build());
  };
  const w = (g: GraphBuilder, dims = [4, 6]) => g.initializer('w', wave(dims, 2));
  const b = (g: GraphBuilder, n = 6) => g.initializer('b', wave([n], 3));

  it.each([
    ['x W + b', (g: GraphBuilder, x: string) => g.add(g.op('MatMul', [x, w(g)]), b(g))],
    ['b + x W', (g: GraphBuilder, x: string) => g.add(b(g), g.op('MatMul', [x, w(g)]))],
    ['x Wᵀ + b', (g: GraphBuilder, x: string) => g.add(g.op('MatMul', [x, g.transpose(w(g, [6, 4]), [1, 0])]), b(g))],
  ] as const)('a linear layer over states of any number of axes: %s', async (_, finish) => {
    const model = build(finish);
    const graph = fuseBias(model.graph);
    expect(ops(graph)).toContain('Gemm');
    expect(ops(graph)).not.toContain('MatMul');
    const x = wave([2, 3, 4], 1);
    const [fused, plain] = [(await runOnce({ ...model, graph }, { x })).y!, (await runOnce(model, { x })).y!];
    expect(fused.dims).toEqual([2, 3, 6]);
    expect(near(fused, plain)).toBeLessThan(1e-6);
  });

  it.each([
    ['a product that others read', (g: GraphBuilder, p: string) => g.mul(g.add(p, b(g)), p)],
    ['a bias that is broadcast over its own axis', (g: GraphBuilder, p: string) => g.add(p, b(g, 1))],
    ['a sum of two states', (g: GraphBuilder, p: string) => g.add(p, g.neg(p))],
  ] as const)('%s stays', (_, finish) => {
    const model = build((g, x) => finish(g, g.op('MatMul', [x, w(g)])));
    expect(ops(fuseBias(model.graph))).not.toContain('Gemm');
  });
});
