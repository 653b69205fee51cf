import { describe, expect, it } from 'vitest';
import { type AttributeLike, GraphBuilder, MICROSOFT, modelOf } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { decompose } from '../../src/onnx/rewrites/decompose.ts';
import { type Feeds, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, type Tensor, tensor } from '../../src/onnx/tensor.ts';

/*
 * Composite ops against the engine's own kernels.
 */

const wave = (dims: readonly number[], phase = 0): Tensor =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 1.2 * Math.sin(0.7 * i + phase)),
  );

interface Case {
  readonly name: string;
  readonly op: string;
  readonly domain?: string;
  readonly attrs?: Readonly<Record<string, AttributeLike>>;
  /** undefined: the input is left out. */
  readonly inputs: readonly (Tensor | undefined)[];
  readonly outputs?: number;
}

const q = wave([2, 3, 5, 4]);
const k = wave([2, 3, 5, 4], 1);
const v = wave([2, 3, 5, 4], 2);
/** The last query of the first row is fully masked. */
const open = tensor(
  'bool',
  [2, 1, 5, 5],
  Array.from({ length: 50 }, (_, i) => +(i >= 25 || (i < 20 && i % 5 < 3))),
);
const bias = wave([2, 1, 5, 5], 3);
const closed = float32(
  [2, 1, 5, 5],
  Array.from(numbers(open), (m) => (m ? 0.3 : Number.NEGATIVE_INFINITY)),
);
const rows = wave([2, 5, 12]);
const gamma = wave([12], 4);
const beta = wave([12], 5);
const [cos, sin] = [wave([2, 5, 2], 6), wave([2, 5, 2], 7)];
const tables = [wave([9, 2], 6), wave([9, 2], 7)] as const;
const positions = tensor('int64', [2, 5], [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]);
const ids = tensor('int32', [2, 5], [1, 4, 2, 2, 0, 3, 3, 1, 0, 4]);
const segments = tensor('int32', [2, 5], [0, 0, 1, 1, 1, 0, 1, 0, 1, 0]);

/** Padding of the second row only. */
const mask = tensor('int32', [2, 5], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
const lengths = tensor('int32', [2], [5, 3]);
const [qkv, qkvBias] = [wave([12, 36], 9), wave([36], 10)];
const added = wave([2, 3, 5, 5], 11);
const [rowsK, rowsV] = [wave([2, 5, 12], 1), wave([2, 5, 12], 2)];
const contrib = { domain: MICROSOFT, attrs: { num_heads: 3 } };

const CASES: readonly Case[] = [
  { name: 'contrib Attention', op: 'Attention', ...contrib, inputs: [rows, qkv, qkvBias] },
  { name: 'contrib Attention with a mask', op: 'Attention', ...contrib, inputs: [rows, qkv, qkvBias, mask] },
  { name: 'contrib Attention with lengths', op: 'Attention', ...contrib, inputs: [rows, qkv, qkvBias, lengths] },
  {
    name: 'contrib Attention with a bias on scores and a scale',
    op: 'Attention',
    domain: MICROSOFT,
    attrs: { num_heads: 3, scale: 0.4 },
    inputs: [rows, qkv, qkvBias, undefined, undefined, added],
  },
  { name: 'MultiHeadAttention', op: 'MultiHeadAttention', ...contrib, inputs: [rows, rowsK, rowsV] },
  {
    name: 'MultiHeadAttention with biases and a mask',
    op: 'MultiHeadAttention',
    ...contrib,
    inputs: [rows, rowsK, rowsV, qkvBias, mask, added],
  },
  { name: 'Attention', op: 'Attention', inputs: [q, k, v] },
  { name: 'Attention with a mask of booleans', op: 'Attention', inputs: [q, k, v, open] },
  { name: 'Attention with a row of −∞', op: 'Attention', inputs: [q, k, v, closed] },
  { name: 'Attention with a bias and a scale', op: 'Attention', attrs: { scale: 0.3 }, inputs: [q, k, v, bias] },
  {
    name: 'Attention in three dimensions',
    op: 'Attention',
    attrs: { q_num_heads: 3, kv_num_heads: 3 },
    inputs: [rows, wave([2, 5, 12], 1), wave([2, 5, 12], 2)],
  },
  { name: 'RotaryEmbedding', op: 'RotaryEmbedding', inputs: [q, cos, sin] },
  { name: 'RotaryEmbedding, interleaved', op: 'RotaryEmbedding', attrs: { interleaved: 1 }, inputs: [q, cos, sin] },
  { name: 'RotaryEmbedding with positions', op: 'RotaryEmbedding', inputs: [q, ...tables, positions] },
  {
    name: 'RotaryEmbedding in three dimensions',
    op: 'RotaryEmbedding',
    attrs: { num_heads: 3 },
    inputs: [rows, cos, sin],
  },
  { name: 'RMSNormalization', op: 'RMSNormalization', attrs: { axis: -1, epsilon: 1e-3 }, inputs: [rows, gamma] },
  {
    name: 'SimplifiedLayerNormalization',
    op: 'SimplifiedLayerNormalization',
    attrs: { axis: -1, epsilon: 1e-3 },
    inputs: [rows, gamma],
  },
  {
    name: 'SkipLayerNormalization',
    op: 'SkipLayerNormalization',
    domain: MICROSOFT,
    attrs: { epsilon: 1e-3 },
    inputs: [rows, wave([2, 5, 12], 1), gamma, beta],
  },
  {
    name: 'SkipLayerNormalization with bias and sum',
    op: 'SkipLayerNormalization',
    domain: MICROSOFT,
    inputs: [rows, wave([2, 5, 12], 1), gamma, beta, wave([12], 8)],
    outputs: 4,
  },
  {
    name: 'EmbedLayerNormalization',
    op: 'EmbedLayerNormalization',
    domain: MICROSOFT,
    attrs: { epsilon: 1e-3 },
    inputs: [ids, segments, wave([6, 12]), wave([7, 12], 1), wave([2, 12], 2), gamma, beta],
  },
  {
    name: 'EmbedLayerNormalization with a mask index',
    op: 'EmbedLayerNormalization',
    domain: MICROSOFT,
    inputs: [
      ids,
      segments,
      wave([6, 12]),
      wave([7, 12], 1),
      wave([2, 12], 2),
      gamma,
      beta,
      tensor(
        'int32',
        ids.dims,
        numbers(ids).map((_, i) => +(i < 8)),
      ),
    ],
    outputs: 2,
  },
  {
    name: 'FusedGemm',
    op: 'FusedGemm',
    domain: MICROSOFT,
    attrs: { activation: 'Tanh', transB: 1, alpha: 0.3 },
    inputs: [wave([5, 12]), wave([7, 12], 1), wave([7], 2)],
  },
  { name: 'BiasGelu', op: 'BiasGelu', domain: MICROSOFT, inputs: [rows, beta] },
  { name: 'Gelu', op: 'Gelu', domain: MICROSOFT, inputs: [rows] },
  { name: 'FastGelu', op: 'FastGelu', domain: MICROSOFT, inputs: [rows] },
  { name: 'FastGelu with bias', op: 'FastGelu', domain: MICROSOFT, inputs: [rows, beta] },
  { name: 'QuickGelu', op: 'QuickGelu', domain: MICROSOFT, attrs: { alpha: 1.5 }, inputs: [rows] },
];

function modelAndFeeds({ op, domain = '', attrs = {}, inputs, outputs = 1 }: Case): { model: Model; feeds: Feeds } {
  const g = new GraphBuilder();
  const feeds: Record<string, Tensor> = {};
  const names = inputs.map((t, i) => {
    if (!t) return '';
    feeds[`x${i}`] = t;
    return g.input(`x${i}`, t.dtype, t.dims);
  });
  const values = outputs === 4 ? ['y', '', '', 'sum'] : outputs === 2 ? ['y', 'second'] : ['y'];
  const node = new GraphBuilder();
  node.op(op, names, attrs, { domain, name: 'layer.0/composite' });
  g.append({
    ...node.build().nodes[0]!,
    outputs: op === 'EmbedLayerNormalization' && outputs === 1 ? ['y', 'mask'] : values,
  });
  for (const value of values) if (value !== '') g.output(value);
  return { model: modelOf(g.build(), 23), feeds };
}

describe('decompose', () => {
  it.each(CASES)('$name', async (c) => {
    const { model, feeds } = modelAndFeeds(c);
    const plain = {
      ...model,
      graph: {
        ...model.graph,
        nodes: model.graph.nodes.map((n) =>
          n.op === 'EmbedLayerNormalization' && n.outputs[1] === 'mask' ? { ...n, outputs: ['y'] } : n,
        ),
      },
    };
    const spelt = decompose(plain, await probeShapes(model, feeds));
    expect(spelt.graph.nodes.filter((n) => n.op === c.op && n.domain === (c.domain ?? ''))).toEqual([]);
    const [expected, got] = [await runOnce(model, feeds), await runOnce(spelt, feeds)];
    for (const [name, value] of Object.entries(expected)) {
      expect(got[name]!.dims).toEqual(value.dims);
      const worst = Math.max(...numbers(value).map((e, i) => Math.abs(e - numbers(got[name]!)[i]!)));
      expect(worst).toBeLessThan(2e-5);
    }
  });

  it.each([
    ['is_causal', { is_causal: 1 }],
    ['softcap', { softcap: { kind: 'float', value: 5 } }],
  ] as const)('refuses Attention with %s, naming the node', async (reason, attrs) => {
    const { model, feeds } = modelAndFeeds({ name: '', op: 'Attention', attrs, inputs: [q, k, v] });
    const shapes = await probeShapes(model, feeds);
    expect(() => decompose(model, shapes)).toThrow(
      `expected an op with a gradient rule, got Attention with ${reason} (node layer.0/composite)`,
    );
  });
});
