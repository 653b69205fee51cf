import { WinnowError } from '../../errors.ts';
import { createRandom, type Random } from '../../util/random.ts';
import { MASK_INPUT, pool, TYPES_INPUT, tokenSum } from '../architectures/pooling.ts';
import { GraphBuilder } from '../builder.ts';
import type { Model, ValueInfo } from '../graph.ts';
import { prune } from '../order.ts';
import { float32View, type Tensor, tensor } from '../tensor.ts';
import { raiseOpset } from './opset.ts';

/** A linear layer in PyTorch's layout: weight [out, in]. */
interface Linear {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

type Pooling = 'cls' | 'mean' | 'pair' | 'last';
type Activation = 'none' | 'tanh' | 'gelu' | 'relu';

/** A classification head: from token states [batch, sequence, hidden] to logits [batch, k]. */
export interface Head {
  /**
   * `cls` takes the first token's state, `last` that of the last unmasked one, `mean` the mean of the unmasked states. `pair` compares the two texts: the elementwise product of
   * the unit vectors along their mean states, whose sum is the cosine. A dense layer of a `pair` head reads the first token's state; its
   * outputs follow the products.
   */
  readonly pooling: Pooling;
  /**
   * Of a `pair` head: one more feature after the products, the mean over the query's tokens of the cosine between a token's state and
   * that of the nearest token of the passage (MaxSim of ColBERT, arXiv 2004.12832).
   */
  readonly nearest?: boolean;
  readonly dense?: Linear;
  readonly activation?: Activation;
  /** LayerNorm after the activation, as in ModernBERT. */
  readonly norm?: { readonly weight: Tensor; readonly bias?: Tensor; readonly epsilon: number };
  readonly out: Linear;
}

interface AttachOptions {
  /** Values that the pooling reads in place of the inputs `attention_mask` and `token_type_ids`. */
  readonly mask?: string;
  readonly sides?: string;
  /** Output that holds the token states; default: `last_hidden_state`, else the only float output of rank 3. */
  readonly states?: string;
  /** Prefix of the parameters' names (`<prefix>dense.weight`, `<prefix>out.weight`, …); default `head.`. */
  readonly prefix?: string;
}

/**
 * Returns the model with an input for the types of tokens, which tell query from passage. Where the encoder has none, its states stay as
 * they are.
 */
function withTypes(model: Model): Model {
  const { inputs, nodes } = model.graph;
  const ids = inputs.find(({ name }) => name === 'input_ids');
  const isTaken = nodes.some(({ outputs }) => outputs.includes(TYPES_INPUT));
  if (ids === undefined || isTaken || inputs.some(({ name }) => name === TYPES_INPUT)) return model;
  return Object.freeze({ ...model, graph: { ...model.graph, inputs: [...inputs, { ...ids, name: TYPES_INPUT }] } });
}

/**
 * Adds a head to a feature-extraction model, whose only output becomes `logits` [batch, k]. A model without `token_type_ids` gets that input
 * for a `pair` head.
 * @throws WinnowError `invalid_graph` if no output or several could be the states, sizes do not fit, or `attention_mask` is missing where
 * the pooling reads it.
 */
export function attachHead(model: Model, head: Head, options: AttachOptions = {}): Model {
  const typed = head.pooling === 'pair' && options.sides === undefined ? withTypes(model) : model;
  const raised = raiseOpset(typed);
  const states = statesOf(raised, options.states);
  check(head, states);
  const prefix = options.prefix ?? 'head.';
  const g = GraphBuilder.from(raised.graph, { outputs: false });
  const logits = linear(g, featuresOf(g, raised, head, states.name, options), head.out, `${prefix}out`);
  const batch = states.dims?.[0] ?? 'batch';
  g.output(logits, 'float32', [batch, head.out.weight.dims[0]!], 'logits');
  return Object.freeze({ ...raised, graph: prune(g.build()) });
}

/** Appends what the last layer reads, [batch, features]. */
function featuresOf(g: GraphBuilder, model: Model, head: Head, states: string, options: AttachOptions): string {
  const prefix = options.prefix ?? 'head.';
  const pair = head.pooling === 'pair' ? pairOf(g, model, states, options, head.nearest === true) : undefined;
  if (pair !== undefined && !head.dense) return pair;
  let x = pooled(g, model, head.pooling, states);
  if (head.dense) x = linear(g, x, head.dense, `${prefix}dense`);
  x = activate(g, x, head.activation ?? 'none');
  if (head.norm) {
    const { weight, bias, epsilon } = head.norm;
    const parameters = [
      g.initializer(`${prefix}norm.weight`, weight),
      ...(bias ? [g.initializer(`${prefix}norm.bias`, bias)] : []),
    ];
    x = g.op('LayerNormalization', [x, ...parameters], { axis: -1, epsilon });
  }
  return pair === undefined ? x : g.concat([pair, x], 1);
}

/** Appends the states that a pooling takes, [batch, hidden]; for `pair` the first token's. */
function pooled(g: GraphBuilder, model: Model, pooling: Pooling, states: string): string {
  if (pooling === 'mean') return meanOf(g, model, states);
  if (pooling !== 'last') return g.gather(states, g.scalar(0, 'int64'), 1);
  checkInput(model, MASK_INPUT, pooling);
  return pool(g, states, ['lasttoken']);
}

function statesOf(model: Model, wanted: string | undefined): ValueInfo {
  const { outputs } = model.graph;
  const name = wanted ?? (outputs.some((o) => o.name === 'last_hidden_state') ? 'last_hidden_state' : undefined);
  const fits =
    name === undefined
      ? outputs.filter((o) => o.dtype === 'float32' && o.dims?.length === 3)
      : outputs.filter((o) => o.name === name);
  if (fits.length === 1) return fits[0]!;
  const got =
    fits.length === 0
      ? `outputs ${outputs.map((o) => o.name).join(', ')}`
      : `${fits.length} of them: ${fits.map((o) => o.name).join(', ')}`;
  const expected =
    name === undefined ? 'one float32 output of rank 3 (or the name of the states)' : `an output ${name}`;
  throw new WinnowError('invalid_graph', { where: 'head attachment', expected, got });
}

function checkWidth(got: Tensor, expected: number, what: string): void {
  if (got.dims[1] === expected) return;
  throw new WinnowError('invalid_graph', {
    where: 'head attachment',
    expected: `${what} [·, ${expected}]`,
    got: `[${got.dims}]`,
  });
}

function check(head: Head, states: ValueInfo): void {
  const hidden = states.dims?.at(-1);
  const nearest = head.nearest ? 1 : 0;
  if (!head.dense) {
    if (typeof hidden === 'number') checkWidth(head.out.weight, hidden + nearest, 'a weight');
    return;
  }
  const [outputs, inputs] = head.dense.weight.dims as readonly [number, number];
  if (typeof hidden === 'number') checkWidth(head.dense.weight, hidden, 'a weight');
  const products = head.pooling === 'pair' ? inputs + nearest : 0;
  checkWidth(head.out.weight, outputs + products, 'an output weight');
}

function checkInput(model: Model, name: string, pooling: Pooling): void {
  if (model.graph.inputs.some((i) => i.name === name)) return;
  throw new WinnowError('invalid_graph', {
    where: 'head attachment',
    expected: `an input ${name} for ${pooling} pooling`,
    got: model.graph.inputs.map((i) => i.name).join(', '),
  });
}

/** Appends an integer input [batch, sequence] as floats [batch, sequence, 1]. */
function columnOf(g: GraphBuilder, model: Model, name: string, pooling: Pooling, instead?: string): string {
  if (instead === undefined) checkInput(model, name, pooling);
  return g.unsqueeze(g.cast(instead ?? name, 'float32'), [2]);
}

/** Σ mask·state / Σ mask */
function meanOf(g: GraphBuilder, model: Model, states: string): string {
  const mask = columnOf(g, model, 'attention_mask', 'mean');
  return g.div(tokenSum(g, g.mul(states, mask)), g.reduceSum(mask, [1], false));
}

/** Keeps the quotient finite for a text without tokens. */
const TINY = 1e-6;

/** v/|v| along the last axis. */
const unit = (g: GraphBuilder, v: string): string =>
  g.div(v, g.sqrt(g.add(g.reduceSum(g.mul(v, v), [-1]), g.scalar(TINY))));

/** q/|q| ⊙ p/|p|, where q and p are the sums of the states of query and passage; with `nearest` the feature of the nearest tokens after it. */
function pairOf(g: GraphBuilder, model: Model, states: string, options: AttachOptions, nearest: boolean): string {
  const mask = columnOf(g, model, 'attention_mask', 'pair', options.mask);
  const second = g.mul(columnOf(g, model, TYPES_INPUT, 'pair', options.sides), mask);
  const first = g.sub(mask, second);
  const along = (part: string): string => unit(g, tokenSum(g, g.mul(states, part)));
  const products = g.mul(along(first), along(second));
  return nearest ? g.concat([products, nearestOf(g, states, first, second)], 1) : products;
}

/** More than the difference of two cosines. */
const FAR = 4;

/** The mean over the query's tokens of the cosine to the nearest token of the passage, [batch, 1]. */
function nearestOf(g: GraphBuilder, states: string, first: string, second: string): string {
  const units = unit(g, states);
  const cosines = g.matmul(units, g.transpose(units, [0, 2, 1]));
  const others = g.transpose(g.sub(g.scalar(1), second), [0, 2, 1]);
  const best = g.reduceMax(g.sub(cosines, g.mul(others, g.scalar(FAR))), [2]);
  return g.div(g.reduceSum(g.mul(best, first), [1], false), g.reduceSum(first, [1], false));
}

function linear(g: GraphBuilder, x: string, { weight, bias }: Linear, name: string): string {
  const inputs = [x, g.initializer(`${name}.weight`, weight)];
  if (bias) inputs.push(g.initializer(`${name}.bias`, bias));
  return g.op('Gemm', inputs, { transB: 1 });
}

const activate = (g: GraphBuilder, x: string, activation: Activation): string =>
  ({
    none: () => x,
    tanh: () => g.op('Tanh', [x]),
    gelu: () => g.op('Gelu', [x], { approximate: 'none' }),
    relu: () => g.relu(x),
  })[activation]();

/** A head with random weights. */
interface FreshHead {
  readonly pooling: Head['pooling'];
  readonly hidden: number;
  /** Adds a dense layer [hidden, hidden] with this activation; absent: the linear output alone. */
  readonly dense?: Activation;
  readonly labels?: number;
  readonly seed: number;
  /** Starts what follows the products of a `pair` head at weight 0, so that the score starts as the cosine alone. */
  readonly silent?: boolean;
  /** Factor of a `pair` head on the cosine. */
  readonly scale?: number | undefined;
  /** Share of the nearest tokens in the score that a `pair` head starts with; absent: the feature is left out. */
  readonly nearest?: number | undefined;
}

/** Factor of a fresh `pair` head on the cosine: cosines of related and other passages, some 0.1 apart, become logits 1 apart. */
const PAIR_SCALE = 10;

/**
 * Makes a head with random weights: N(0, 0.02) as in PyTorch's encoders, biases 0. The products of a `pair` head start with equal weights, so that
 * the score starts as the cosine of the two texts' states as the encoder gives them for the pair; 0 is a cosine of 0.5. Those states are a sentence
 * encoder's own where the texts are read apart (`apart.ts`).
 */
export function freshHead(options: FreshHead): Head {
  const { pooling, hidden, dense, labels = 1, seed, nearest } = options;
  const random = createRandom(seed);
  const plain = dense === undefined && pooling === 'pair' ? undefined : freshLinear(random, labels, hidden);
  const out = pooling === 'pair' ? afterProducts(plain, labels, options) : plain!;
  return {
    pooling,
    ...(nearest !== undefined && { nearest: true }),
    ...(dense !== undefined && { dense: freshLinear(random, hidden, hidden), activation: dense }),
    out,
  };
}

/** Makes a last layer that reads the features of a `pair` head, then what `plain` reads. */
function afterProducts(
  plain: Linear | undefined,
  labels: number,
  { hidden, silent = false, scale = PAIR_SCALE, nearest }: FreshHead,
): Linear {
  const rest = plain ? [...float32View(plain.weight)].map((w) => (silent ? 0 : w)) : [];
  const rows = Array.from({ length: labels }, (_, i) => [
    ...new Array<number>(hidden).fill(scale * (1 - (nearest ?? 0))),
    ...(nearest === undefined ? [] : [scale * nearest]),
    ...rest.slice(i * hidden, (i + 1) * hidden),
  ]);
  return {
    weight: tensor('float32', [labels, rows[0]!.length], rows.flat()),
    bias: tensor('float32', [labels], new Array(labels).fill(-scale / 2)),
  };
}

function freshLinear(random: Random, outputs: number, inputs: number): Linear {
  const values = Array.from({ length: outputs * inputs }, () => 0.02 * random.normal());
  return {
    weight: tensor('float32', [outputs, inputs], values),
    bias: tensor('float32', [outputs], new Array(outputs).fill(0)),
  };
}
