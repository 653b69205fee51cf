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
  /** Added to the scores; '' for none. */
  readonly bias: string;
  readonly dtype: DataType;
}

/** softmax(scale·Q Kᵀ + bias) V. A query that may look at nothing (−∞ everywhere) gets zeros, as the engine's kernels give. */
function attend(g: GraphBuilder, { query, key, value, scale, bias, dtype }: Heads): string {
  const scores = g.mul(g.op('MatMul', [query, g.transpose(key, [0, 1, 3, 2])]), g.scalar(scale, dtype));
  if (bias === '') return g.op('MatMul', [g.softmax(scores), value]);
  const raw = g.softmax(g.add(scores, bias));
  return g.op('MatMul', [g.where(g.op('IsNaN', [raw]), g.scalar(0, dtype), raw), value]);
}

/** [batch, length, heads·size] ↔ [batch, heads, length, size] */
const split = (g: GraphBuilder, x: string, heads: number): string =>
  g.transpose(g.reshape(x, [0, 0, heads, -1]), [0, 2, 1, 3]);
const merge = (g: GraphBuilder, x: string): string => g.reshape(g.transpose(x, [0, 2, 1, 3]), [0, 0, -1]);

function onlyFirstOutput(node: Node): void {
  if (node.outputs.slice(1).some((o) => o !== '')) throw refuse(node, 'outputs besides the first');
}

/**
 * Attention of opset 23; heads in axis 1 of four-dimensional inputs, or `q_num_heads` of them in three-dimensional ones. A boolean mask
 * lets through where true.
 */
export const attention: Decomposition = ({ g, node, probed, give }) => {
  const [q, k, v, mask = ''] = node.inputs as [string, string, string, string?];
  if (has(node, 4) || has(node, 5)) throw refuse(node, 'a key-value cache');
  if (attrNumber(node, 'is_causal', 0) !== 0) throw refuse(node, 'is_causal');
  if (attrNumber(node, 'softcap', 0) !== 0) throw refuse(node, 'softcap');
  onlyFirstOutput(node);
  const { dims, dtype } = probed(q);
  const flat = dims.length === 3;
  const heads = flat ? attrNumber(node, 'q_num_heads', 0) : dims[1]!;
  if ((flat ? attrNumber(node, 'kv_num_heads', heads) : probed(k).dims[1]) !== heads)
    throw refuse(node, 'fewer key heads than query heads');
  const [query, key, value] = [q, k, v].map((x) => (flat ? split(g, x, heads) : x)) as [string, string, string];
  const size = flat ? dims[2]! / heads : dims[3]!;
  const closed = g.scalar(Number.NEGATIVE_INFINITY, dtype);
  const bias = mask !== '' && probed(mask).dtype === 'bool' ? g.where(mask, g.scalar(0, dtype), closed) : mask;
  const mixed = attend(g, { query, key, value, scale: attrNumber(node, 'scale', 1 / Math.sqrt(size)), bias, dtype });
  give(flat ? merge(g, mixed) : mixed);
};

/** What the contrib kernels add to scores that the padding mask closes, unless the node says otherwise. */
const FILTER = -10000;

/** A padding mask of rank 2 ([batch, keys], 1 = open) or 1 ([batch], number of open keys) as a bias [batch, 1, 1, keys]. */
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

function plainVariant(node: Node): void {
  if (attrNumber(node, 'unidirectional', 0) !== 0) throw refuse(node, 'unidirectional');
  if (attrNumber(node, 'do_rotary', 0) !== 0) throw refuse(node, 'do_rotary');
  onlyFirstOutput(node);
}

const sum = (g: GraphBuilder, parts: readonly string[]): string =>
  parts.filter((p) => p !== '').reduce((all, part) => (all === '' ? part : g.add(all, part)), '');

/** `com.microsoft.Attention`: x·W + b holds query, key and value side by side. */
export const fusedAttention: Decomposition = (c) => {
  const { g, node, probed, give } = c;
  const [x, weight, bias = '', mask = ''] = node.inputs as [string, string, string?, string?];
  plainVariant(node);
  if (has(node, 4)) throw refuse(node, 'a key-value cache');
  if ('qkv_hidden_sizes' in node.attrs) throw refuse(node, 'qkv_hidden_sizes');
  const heads = attrNumber(node, 'num_heads', 0);
  const { dims, dtype } = probed(weight);
  const size = dims[1]! / 3 / heads;
  const product = g.op('MatMul', [x, weight]);
  const projected = bias === '' ? product : g.add(product, bias);
  const parts = g.ops('Split', [projected], { axis: -1, num_outputs: 3 }, 3);
  const [query, key, value] = parts.map((part) => split(g, part, heads)) as [string, string, string];
  const padding = paddingBias(c, mask, x, dtype);
  const scale = attrNumber(node, 'scale', 0) || 1 / Math.sqrt(size);
  give(merge(g, attend(g, { query, key, value, scale, bias: sum(g, [padding, node.inputs[5] ?? '']), dtype })));
};

/** `com.microsoft.MultiHeadAttention` of three separate inputs [batch, length, heads·size]; its bias is query's, key's and value's in a row. */
export const multiHeadAttention: Decomposition = (c) => {
  const { g, node, probed, give } = c;
  const [q, k = '', v = '', bias = '', mask = '', added = ''] = node.inputs as string[];
  plainVariant(node);
  if (k === '' || v === '' || probed(q!).dims.length !== 3 || probed(k).dims.length !== 3)
    throw refuse(node, 'packed inputs');
  if (has(node, 6) || has(node, 7)) throw refuse(node, 'a key-value cache');
  const heads = attrNumber(node, 'num_heads', 0);
  const { dims, dtype } = probed(q!);
  const size = dims[2]! / heads;
  const biases = bias === '' ? ['', '', ''] : g.ops('Split', [bias], { axis: 0, num_outputs: 3 }, 3);
  const [query, key, value] = [q!, k, v].map((x, i) => split(g, sum(g, [x, biases[i]!]), heads)) as [
    string,
    string,
    string,
  ];
  const padding = paddingBias(c, mask, k, dtype);
  const scale = attrNumber(node, 'scale', 0) || 1 / Math.sqrt(size);
  give(merge(g, attend(g, { query, key, value, scale, bias: sum(g, [padding, added]), dtype })));
};
