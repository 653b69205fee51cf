import { WinnowError } from '../../errors.ts';
import { GraphBuilder, MICROSOFT } from '../builder.ts';
import { attrNumber, attrString, freezeGraph, type Model, type Node, nodeLabel, opKey } from '../graph.ts';
import type { Probed, Shapes } from '../probe.ts';
import { attention, fusedAttention, multiHeadAttention } from './attention.ts';
import { type Decomposition, has, refuse } from './decomposition.ts';

/*
 * Rewrites composite and contrib ops into primitive ones, so that they need no gradient rule.
 */

/** Rotary embedding of opset 23: (x₁, x₂) ↦ (x₁ cos − x₂ sin, x₁ sin + x₂ cos) for the two halves, or for neighbors if interleaved. */
const rotary: Decomposition = ({ g, node, probed, output }) => {
  const [x, cos, sin, positions = ''] = node.inputs as [string, string, string, string?];
  if (attrNumber(node, 'rotary_embedding_dim', 0) !== 0) throw refuse(node, 'rotary_embedding_dim');
  const flat = probed(x).dims.length === 3;
  const heads = attrNumber(node, 'num_heads', 0);
  const four = flat ? g.transpose(g.reshape(x, [0, 0, heads, -1]), [0, 2, 1, 3]) : x;
  const table = (t: string): string => g.unsqueeze(positions === '' ? t : g.gather(t, positions), [1]);
  const [c, s] = [table(cos), table(sin)];
  const interleaved = attrNumber(node, 'interleaved', 0) !== 0;
  const pairs = interleaved ? g.reshape(four, [0, 0, 0, -1, 2]) : four;
  const [a, b] = g
    .ops('Split', [pairs], { axis: -1, num_outputs: 2 }, 2)
    .map((half) => (interleaved ? g.squeeze(half, [-1]) : half)) as [string, string];
  const parts = [g.sub(g.mul(a, c), g.mul(b, s)), g.add(g.mul(a, s), g.mul(b, c))];
  const rotated = interleaved
    ? g.reshape(
        g.concat(
          parts.map((p) => g.unsqueeze(p, [-1])),
          -1,
        ),
        [0, 0, 0, -1],
      )
    : g.concat(parts, -1);
  output(flat ? g.reshape(g.transpose(rotated, [0, 2, 1, 3]), [0, 0, -1]) : rotated);
};

/** LayerNormalization(x + skip + bias); the sum is the fourth output. */
const skipLayerNorm: Decomposition = ({ g, node, output }) => {
  const [x, skip, gamma, beta = '', bias = ''] = node.inputs as [string, string, string, string?, string?];
  const sum = bias === '' ? g.add(x, skip) : g.add(g.add(x, bias), skip);
  if ((node.outputs[1] ?? '') !== '' || (node.outputs[2] ?? '') !== '')
    throw refuse(node, 'mean and deviation outputs');
  output(normalize(g, sum, gamma, beta, attrNumber(node, 'epsilon', 1e-12)));
  if ((node.outputs[3] ?? '') !== '') output(sum, 3);
};

const normalize = (g: GraphBuilder, x: string, gamma: string, beta: string, epsilon: number): string =>
  g.op('LayerNormalization', beta === '' ? [x, gamma] : [x, gamma, beta], { axis: -1, epsilon });

/** LayerNormalization of the sum of word, position and segment embeddings; the second output is the number of tokens of each row. */
const embedLayerNorm: Decomposition = ({ g, node, output }) => {
  const [ids, segments, words, positions, segmentTable, gamma, beta] = node.inputs as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const end = g.slice(g.shape(ids), [1], [2], [0]);
  const range = g.op('Range', [g.scalar(0, 'int64'), g.squeeze(end, [0]), g.scalar(1, 'int64')]);
  const rows = g.unsqueeze(g.gather(positions, has(node, 8) ? node.inputs[8]! : range), [0]);
  const placed = has(node, 8) ? g.squeeze(rows, [0]) : rows;
  let sum = g.add(g.gather(words, ids), placed);
  if (segments !== '' && segmentTable !== '') sum = g.add(sum, g.gather(segmentTable, segments));
  output(normalize(g, sum, gamma, beta, attrNumber(node, 'epsilon', 1e-12)));
  if ((node.outputs[1] ?? '') !== '') {
    // Without a mask the engine counts no tokens.
    const none = g.expand(g.scalar(0, 'int64'), g.slice(g.shape(ids), [0], [1], [0]));
    const count = has(node, 7) ? g.reduceSum(g.cast(node.inputs[7]!, 'int64'), [1], false) : none;
    output(g.cast(count, 'int32'), 1);
  }
  if ((node.outputs[2] ?? '') !== '') output(sum, 2);
};

/** Gelu(x + b) */
const biasGelu: Decomposition = ({ g, node, output }) =>
  output(g.op('Gelu', [g.add(node.inputs[0]!, node.inputs[1]!)], { approximate: 'none' }));

/** Gelu(x); the contrib op is the exact form. */
const plainGelu: Decomposition = ({ g, node, output }) =>
  output(g.op('Gelu', [node.inputs[0]!], { approximate: 'none' }));

/** Gelu(x + b) in its tanh form; b is optional. */
const fastGelu: Decomposition = ({ g, node, output }) =>
  output(
    g.op('Gelu', [has(node, 1) ? g.add(node.inputs[0]!, node.inputs[1]!) : node.inputs[0]!], { approximate: 'tanh' }),
  );

/** x·σ(αx) */
const quickGelu: Decomposition = ({ g, node, probed, output }) => {
  const x = node.inputs[0]!;
  output(g.mul(x, g.sigmoid(g.mul(x, g.scalar(attrNumber(node, 'alpha', 1.702), probed(x).dtype)))));
};

/** activation(α A′ B′ + β C) */
const fusedGemm: Decomposition = ({ g, node, output }) => {
  const activation = attrString(node, 'activation', '');
  if (!ACTIVATIONS.has(activation)) throw refuse(node, `activation ${activation}`);
  const own = Object.entries(node.attrs).filter(([name]) => !name.startsWith('activation'));
  output(g.op(activation, [g.op('Gemm', node.inputs, Object.fromEntries(own))]));
};

const ACTIVATIONS: ReadonlySet<string> = new Set(['Tanh', 'Relu', 'Sigmoid', 'Softplus']);

/** γ·x/√(mean x² + ε) */
const rootMeanSquare: Decomposition = ({ g, node, probed, output }) => {
  const [x, gamma] = node.inputs as [string, string];
  const epsilon = g.scalar(attrNumber(node, 'epsilon', 1e-5), probed(x).dtype);
  const axis = attrNumber(node, 'axis', -1);
  const rank = probed(x).dims.length;
  const axes = Array.from({ length: axis < 0 ? -axis : rank - axis }, (_, i) => (axis < 0 ? axis + rank : axis) + i);
  output(g.mul(g.div(x, g.sqrt(g.add(g.reduceMean(g.mul(x, x), axes), epsilon))), gamma));
};

const DECOMPOSITIONS: Readonly<Record<string, Decomposition>> = {
  Attention: attention,
  RotaryEmbedding: rotary,
  RMSNormalization: rootMeanSquare,
  SimplifiedLayerNormalization: rootMeanSquare,
  [`${MICROSOFT}:Attention`]: fusedAttention,
  [`${MICROSOFT}:MultiHeadAttention`]: multiHeadAttention,
  [`${MICROSOFT}:SkipLayerNormalization`]: skipLayerNorm,
  [`${MICROSOFT}:EmbedLayerNormalization`]: embedLayerNorm,
  [`${MICROSOFT}:FusedGemm`]: fusedGemm,
  [`${MICROSOFT}:BiasGelu`]: biasGelu,
  [`${MICROSOFT}:Gelu`]: plainGelu,
  [`${MICROSOFT}:FastGelu`]: fastGelu,
  [`${MICROSOFT}:QuickGelu`]: quickGelu,
};

/**
 * Rewrites composite and contrib nodes into primitive ones.
 * @param shapes of the values these nodes read, from `probeShapes`.
 * @throws WinnowError `unsupported_op` naming the node, for variants without a rewrite.
 */
export function decompose(model: Model, shapes: Shapes): Model {
  const { graph } = model;
  if (!graph.nodes.some((n) => opKey(n) in DECOMPOSITIONS)) return model;
  const g = GraphBuilder.from(freezeGraph({ ...graph, nodes: [] }));
  for (const node of graph.nodes) for (const output of node.outputs) g.reserve(output);
  for (const node of graph.nodes) {
    const rule = DECOMPOSITIONS[opKey(node)];
    if (rule)
      rule({ g, node, probed: probedFor(shapes, node), output: (value, i = 0) => bridge(g, value, node.outputs[i]!) });
    else g.append(node);
  }
  const opsets = { ...model.opsets, [MICROSOFT]: model.opsets[MICROSOFT] ?? 1 };
  return Object.freeze({ ...model, opsets, graph: g.build() });
}

const probedFor =
  (shapes: Shapes, node: Node) =>
  (value: string): Probed => {
    const found = shapes.get(value);
    if (found) return found;
    throw new WinnowError('invalid_graph', {
      where: `node ${nodeLabel(node)}`,
      expected: `a probed shape of ${value}`,
      got: 'none',
    });
  };

const bridge = (g: GraphBuilder, from: string, to: string): void =>
  g.append({ op: 'Identity', domain: '', name: to, inputs: [from], outputs: [to], attrs: {} });
