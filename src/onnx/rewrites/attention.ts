import type { GraphBuilder } from '../builder.ts';
import type { DataType } from '../dtypes.ts';
import { attrNumber, type Node } from '../graph.ts';
import { type Context, type Decomposition, has, refuse } from './decomposition.ts';

interface Heads {
  /** [batch, heads, length, size] each. */
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly scale: number;
  /** Value added to the scores; '' for none. */
  readonly bias: string;
  readonly dtype: DataType;
}

/** softmax(scale·Q Kᵀ + bias) V. A query whose scores are all masked by −∞ gets zeros, as the engine's kernels output. */
function attend(g: GraphBuilder, { query, key, value, scale, bias, dtype }: Heads): string {
  const scores = g.mul(g.op('MatMul', [query, g.transpose(key, [0, 1, 3, 2])]), g.scalar(scale, dtype));
  if (bias === '') return g.op('MatMul', [g.softmax(scores), value]);
  const raw = g.softmax(g.add(scores, bias));
  return g.op('MatMul', [g.where(g.op('IsNaN', [raw]), g.scalar(0, dtype), raw), value]);
}

/** [batch, length, heads·size] → [batch, heads, length, size] */
const splitHeads = (g: GraphBuilder, x: string, heads: number): string =>
  g.transpose(g.reshape(x, [0, 0, heads, -1]), [0, 2, 1, 3]);
/** [batch, heads, length, size] → [batch, length, heads·size] */
const mergeHeads = (g: GraphBuilder, x: string): string => g.reshape(g.transpose(x, [0, 2, 1, 3]), [0, 0, -1]);

function requireOneOutput(node: Node): void {
  if (node.outputs.slice(1).some((o) => o !== '')) throw refuse(node, 'further outputs');
}

/**
 * Attention of opset 23: heads are axis 1 of inputs with four axes; inputs with three hold `q_num_heads` of them. A boolean mask is true for
 * positions that are attended to.
 */
export const attention: Decomposition = ({ g, node, probed, output }) => {
  const [q, k, v, mask = ''] = node.inputs as [string, string, string, string?];
  if (has(node, 4) || has(node, 5)) throw refuse(node, 'a key-value cache');
  if (attrNumber(node, 'is_causal', 0) !== 0) throw refuse(node, 'is_causal');
  if (attrNumber(node, 'softcap', 0) !== 0) throw refuse(node, 'softcap');
  requireOneOutput(node);
  const { dims, dtype } = probed(q);
  const flat = dims.length === 3;
  const heads = flat ? attrNumber(node, 'q_num_heads', 0) : dims[1]!;
  if ((flat ? attrNumber(node, 'kv_num_heads', heads) : probed(k).dims[1]) !== heads)
    throw refuse(node, 'fewer key heads than query heads');
  const [query, key, value] = [q, k, v].map((x) => (flat ? splitHeads(g, x, heads) : x)) as [string, string, string];
  const size = flat ? dims[2]! / heads : dims[3]!;
  const masked = g.scalar(Number.NEGATIVE_INFINITY, dtype);
  const bias = mask !== '' && probed(mask).dtype === 'bool' ? g.where(mask, g.scalar(0, dtype), masked) : mask;
  const mixed = attend(g, { query, key, value, scale: attrNumber(node, 'scale', 1 / Math.sqrt(size)), bias, dtype });
  output(flat ? mergeHeads(g, mixed) : mixed);
};

/** Added by the contrib kernels to masked scores, unless the node has another value. */
const FILTER = -10000;

/** Turns a padding mask of rank 2 ([batch, keys], 1 for a token) or 1 ([batch], number of tokens) into a bias [batch, 1, 1, keys]. */
function paddingBias({ g, node, probed }: Context, mask: string, keys: string, dtype: DataType): string {
  if (mask === '') return '';
  const rank = probed(mask).dims.length;
  const filter = g.scalar(attrNumber(node, 'mask_filter_value', FILTER), dtype);
  const zero = g.scalar(0, dtype);
  if (rank === 2) return g.where(g.cast(g.unsqueeze(mask, [1, 2]), 'bool'), zero, filter);
  if (rank !== 1) throw refuse(node, `a mask of rank ${rank}`);
  const length = g.squeeze(g.slice(g.shape(keys), [1], [2], [0]), [0]);
  const places = g.op('Range', [g.scalar(0, 'int64'), length, g.scalar(1, 'int64')]);
  return g.where(g.less(places, g.unsqueeze(g.cast(mask, 'int64'), [1, 2, 3])), zero, filter);
}

function requirePlainVariant(node: Node): void {
  if (attrNumber(node, 'unidirectional', 0) !== 0) throw refuse(node, 'unidirectional');
  if (attrNumber(node, 'do_rotary', 0) !== 0) throw refuse(node, 'do_rotary');
  requireOneOutput(node);
}

const sum = (g: GraphBuilder, parts: readonly string[]): string =>
  parts.filter((p) => p !== '').reduce((all, part) => (all === '' ? part : g.add(all, part)), '');

/** `com.microsoft.Attention`: query, key and value are the three parts of x·W + b. */
export const fusedAttention: Decomposition = (c) => {
  const { g, node, probed, output } = c;
  const [x, weight, bias = '', mask = ''] = node.inputs as [string, string, string?, string?];
  requirePlainVariant(node);
  if (has(node, 4)) throw refuse(node, 'a key-value cache');
  if ('qkv_hidden_sizes' in node.attrs) throw refuse(node, 'qkv_hidden_sizes');
  const heads = attrNumber(node, 'num_heads', 0);
  const { dims, dtype } = probed(weight);
  const size = dims[1]! / 3 / heads;
  const product = g.op('MatMul', [x, weight]);
  const projected = bias === '' ? product : g.add(product, bias);
  const parts = g.ops('Split', [projected], { axis: -1, num_outputs: 3 }, 3);
  const [query, key, value] = parts.map((part) => splitHeads(g, part, heads)) as [string, string, string];
  const padding = paddingBias(c, mask, x, dtype);
  const scale = attrNumber(node, 'scale', 0) || 1 / Math.sqrt(size);
  output(mergeHeads(g, attend(g, { query, key, value, scale, bias: sum(g, [padding, node.inputs[5] ?? '']), dtype })));
};

/** `com.microsoft.MultiHeadAttention` of three inputs [batch, length, heads·size]; its bias is those of query, key and value, concatenated. */
export const multiHeadAttention: Decomposition = (c) => {
  const { g, node, probed, output } = c;
  const [q, k = '', v = '', bias = '', mask = '', added = ''] = node.inputs as string[];
  requirePlainVariant(node);
  if (k === '' || v === '' || probed(q!).dims.length !== 3 || probed(k).dims.length !== 3)
    throw refuse(node, 'packed inputs');
  if (has(node, 6) || has(node, 7)) throw refuse(node, 'a key-value cache');
  const heads = attrNumber(node, 'num_heads', 0);
  const { dims, dtype } = probed(q!);
  const size = dims[2]! / heads;
  const biases = bias === '' ? ['', '', ''] : g.ops('Split', [bias], { axis: 0, num_outputs: 3 }, 3);
  const [query, key, value] = [q!, k, v].map((x, i) => splitHeads(g, sum(g, [x, biases[i]!]), heads)) as [
    string,
    string,
    string,
  ];
  const padding = paddingBias(c, mask, k, dtype);
  const scale = attrNumber(node, 'scale', 0) || 1 / Math.sqrt(size);
  output(mergeHeads(g, attend(g, { query, key, value, scale, bias: sum(g, [padding, added]), dtype })));
};
