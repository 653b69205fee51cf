import { GraphBuilder } from '../builder.ts';
import { deferred, type Tensor, transposeTensor } from '../tensor.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Settings } from './settings.ts';

/** What writes a graph and where its weights come from. */
export interface Parts {
  readonly g: GraphBuilder;
  readonly checkpoint: Checkpoint;
  /** Names of the weights that the graph has. */
  readonly written: Set<string>;
}

const gelu = (g: GraphBuilder, x: string): string => g.op('Gelu', [x], { approximate: 'none' });
const tanhGelu = (g: GraphBuilder, x: string): string => g.op('Gelu', [x], { approximate: 'tanh' });
const silu = (g: GraphBuilder, x: string): string => g.mul(x, g.sigmoid(x));

/** By the names of transformers' `ACT2FN`. */
const ACTIVATIONS = {
  gelu,
  gelu_python: gelu,
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_accurate: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  gelu_python_tanh: tanhGelu,
  quick_gelu: (g: GraphBuilder, x: string) => g.mul(x, g.sigmoid(g.mul(x, g.scalar(1.702)))),
  silu,
  swish: silu,
  relu: (g: GraphBuilder, x: string) => g.relu(x),
  tanh: (g: GraphBuilder, x: string) => g.op('Tanh', [x]),
  sigmoid: (g: GraphBuilder, x: string) => g.sigmoid(x),
};

export type Activation = keyof typeof ACTIVATIONS;

const isActivation = (word: string): word is Activation => Object.hasOwn(ACTIVATIONS, word);

export const activate = ({ g }: Parts, x: string, activation: Activation): string => ACTIVATIONS[activation](g, x);

/** Reads the name of an activation from a field of config.json. */
export const activationIn = ({ checkpoint }: Parts, field: string, otherwise: Activation = 'gelu'): Activation =>
  checkpoint.settings.choice(field, Object.keys(ACTIVATIONS).filter(isActivation), otherwise);

/** Starts a graph with its inputs, [batch, sequence]. @param batch name of their first size. */
export function start(checkpoint: Checkpoint, inputs: readonly string[], batch = 'batch'): Parts {
  const g = new GraphBuilder('encoder');
  for (const name of inputs) g.input(name, 'int64', [batch, 'sequence']);
  return { g, checkpoint, written: new Set() };
}

/** Stands for −∞ in a mask: finite, so that the softmax of a fully masked row is not NaN. */
export const LOWEST = -3.4028234663852886e38;

/** Whether a token is no padding, [batch, 1, 1, sequence]. */
export const isText = ({ g }: Parts): string => g.cast(g.unsqueeze('attention_mask', [1, 2]), 'bool');

/** Bias of attention scores: 0 where `open`, the lowest float32 elsewhere. */
export const biasOf = ({ g }: Parts, open: string): string => g.where(open, g.scalar(0), g.scalar(LOWEST));

/** Tokens of a row, padding included, as an int64 scalar. */
export const rowLength = ({ g }: Parts): string => g.squeeze(g.slice(g.shape('input_ids'), [1], [2], [0]), [0]);

/** 0, 1, … up to the length of a row, as int64. */
export function rowPositions(parts: Parts): string {
  const { g } = parts;
  return g.op('Range', [g.scalar(0, 'int64'), rowLength(parts), g.scalar(1, 'int64')]);
}

/** Adds a weight under its name; layers that share weights find it there. */
export function parameter({ g, written }: Parts, name: string, read: () => Tensor): string {
  if (written.has(name)) return name;
  written.add(name);
  return g.initializer(name, read());
}

/** A matrix transposed when its bytes are read. */
export const transposed = (matrix: Tensor): Tensor =>
  deferred(matrix.dtype, matrix.dims.toReversed(), () => transposeTensor(matrix).bytes);

export interface LinearShape {
  readonly from: number;
  readonly to: number | undefined;
  readonly bias?: boolean;
}

/** x · weightᵀ + bias. The weight is stored as [in, out] under its own name. */
export function linear(parts: Parts, x: string, name: string, { from, to, bias = true }: LinearShape): string {
  const { g, checkpoint } = parts;
  const read = (kind: string, dims: readonly (number | undefined)[]) => checkpoint.take(`${name}.${kind}`, dims);
  const weight = parameter(parts, `${name}.weight`, () => transposed(read('weight', [to, from])));
  const product = g.matmul(x, weight);
  if (!bias) return product;
  return g.add(
    product,
    parameter(parts, `${name}.bias`, () => read('bias', [to])),
  );
}

export interface NormShape {
  readonly size: number;
  readonly epsilon: number;
  readonly bias?: boolean;
}

/** Layer normalization; older checkpoints call weight and bias gamma and beta. */
export function norm(parts: Parts, x: string, name: string, { size, epsilon, bias = true }: NormShape): string {
  const { g, checkpoint } = parts;
  const read = (wanted: string, old: string): string => {
    const found = checkpoint.has(`${name}.${old}`) && !checkpoint.has(`${name}.${wanted}`) ? old : wanted;
    return parameter(parts, `${name}.${wanted}`, () => checkpoint.take(`${name}.${found}`, [size]));
  };
  const inputs = [x, read('weight', 'gamma'), ...(bias ? [read('bias', 'beta')] : [])];
  return g.op('LayerNormalization', inputs, { axis: -1, epsilon });
}

/** Gathers rows of a table of weights, [rows, width]. */
export function lookUp(
  { g, checkpoint }: Parts,
  name: string,
  dims: readonly (number | undefined)[],
  ids: string,
): string {
  return g.gather(g.initializer(name, checkpoint.take(name, dims)), ids);
}

/** Splits [batch, sequence, heads · size] into heads; `perm` orders [batch, sequence, heads, size]. */
export const splitHeads = ({ g }: Parts, x: string, heads: number, size: number, perm: readonly number[]): string =>
  g.transpose(g.reshape(x, [0, 0, heads, size]), perm);

/** Most layers that a graph is built with; layers that share weights would go on for ever. */
export const MOST_LAYERS = 1000;

/** Width of the hidden states, and the heads of attention it is split into. */
export interface Heads {
  readonly hidden: number;
  readonly heads: number;
  /** Width of a head. */
  readonly size: number;
}

/** Reads width and heads from fields of config.json. @throws WinnowError `invalid_input` where the heads do not divide the width. */
export function readHeads(settings: Settings, hiddenField: string, headsField: string): Heads {
  const hidden = settings.count(hiddenField);
  const heads = settings.count(headsField);
  if (hidden % heads !== 0) throw settings.fault(headsField, `a divisor of the hidden size ${hidden}`, String(heads));
  return { hidden, heads, size: hidden / heads };
}

interface Attention {
  /** [batch, heads, sequence, size], as are the values. */
  readonly query: string;
  /** Transposed, [batch, heads, size, sequence]. */
  readonly keys: string;
  readonly value: string;
  /** Added to the scores, [batch, heads, sequence, sequence] or what broadcasts to it. */
  readonly mask: string;
}

/** Scaled dot-product attention; returns [batch, sequence, heads · size]. */
export function attend(parts: Parts, { query, keys, value, mask }: Attention, heads: Heads): string {
  const { g } = parts;
  const scores = g.mul(g.matmul(query, keys), g.scalar(1 / Math.sqrt(heads.size)));
  return mix(parts, { scores: g.add(scores, mask), value }, heads);
}

/** Mixes values by the softmax of masked scores; returns [batch, sequence, heads · size]. */
export function mix(
  { g }: Parts,
  { scores, value }: { readonly scores: string; readonly value: string },
  { hidden }: Heads,
): string {
  const mixed = g.matmul(g.softmax(scores), value);
  return g.reshape(g.transpose(mixed, [0, 2, 1, 3]), [0, 0, hidden]);
}

/** The last linear layer, with as many outputs as config.json has labels; makes it the graph's output `logits`. */
export function classify(parts: Parts, x: string, name: string, hidden: number, bias = true): void {
  const { g, checkpoint } = parts;
  const labels = checkpoint.settings.labels() ?? checkpoint.rows(`${name}.weight`);
  g.output(linear(parts, x, name, { from: hidden, to: labels, bias }), 'float32', ['batch', labels ?? null], 'logits');
}

/** Makes hidden states the graph's output, for a checkpoint without a classification head. */
export function outputStates({ g }: Parts, x: string, hidden: number): void {
  g.output(x, 'float32', ['batch', 'sequence', hidden], 'last_hidden_state');
}
