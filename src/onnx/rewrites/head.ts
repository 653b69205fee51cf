import { WinnowError } from '../../errors.ts';
import { createRandom, type Random } from '../../random.ts';
import { GraphBuilder } from '../builder.ts';
import { freezeGraph, type Model, type ValueInfo } from '../graph.ts';
import { prune } from '../order.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { raiseOpset } from './opset.ts';

/** A linear layer in PyTorch's layout: weight [out, in]. */
export interface Linear {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

export type Activation = 'none' | 'tanh' | 'gelu' | 'relu';

/** From token states [batch, sequence, hidden] to logits [batch, k]. */
export interface Head {
  /** `cls` takes the first token's state, `mean` the mean of the states the mask lets through. */
  readonly pooling: 'cls' | 'mean';
  readonly dense?: Linear;
  readonly activation?: Activation;
  /** LayerNorm behind the activation, as ModernBERT has it. */
  readonly norm?: { readonly weight: Tensor; readonly bias?: Tensor; readonly epsilon: number };
  readonly out: Linear;
}

export interface AttachOptions {
  /** The output that holds the token states; default: `last_hidden_state`, else the only float output of rank 3. */
  readonly states?: string;
  /** Names of the head's parameters: `<prefix>dense.weight`, `<prefix>out.weight`, …; default `head.`. */
  readonly prefix?: string;
}

/**
 * A feature-extraction model with a head: its only output is `logits` [batch, k].
 * @throws WinnowError `invalid_graph` if the states cannot be told, sizes do not fit, or mean pooling finds no `attention_mask`.
 */
export function attachHead(model: Model, head: Head, options: AttachOptions = {}): Model {
  const raised = raiseOpset(model);
  const states = statesOf(raised, options.states);
  check(head, states);
  const prefix = options.prefix ?? 'head.';
  const g = GraphBuilder.from(raised.graph, { outputs: false });
  let x = head.pooling === 'cls' ? g.gather(states.name, g.scalar(0, 'int64'), 1) : meanOf(g, raised, states.name);
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
  const logits = linear(g, x, head.out, `${prefix}out`);
  const batch = states.dims?.[0] ?? 'batch';
  g.output(logits, 'float32', [batch, head.out.weight.dims[0]!], 'logits');
  return Object.freeze({ ...raised, graph: prune(g.build()) });
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

function check(head: Head, states: ValueInfo): void {
  const hidden = states.dims?.at(-1);
  const first = head.dense ?? head.out;
  const width = first.weight.dims[1];
  if (typeof hidden === 'number' && width !== hidden)
    throw new WinnowError('invalid_graph', {
      where: 'head attachment',
      expected: `a weight [·, ${hidden}]`,
      got: `[${first.weight.dims}]`,
    });
  if (head.dense && head.out.weight.dims[1] !== head.dense.weight.dims[0])
    throw new WinnowError('invalid_graph', {
      where: 'head attachment',
      expected: `an output weight [·, ${head.dense.weight.dims[0]}]`,
      got: `[${head.out.weight.dims}]`,
    });
}

/** Σ mask·state / Σ mask */
function meanOf(g: GraphBuilder, model: Model, states: string): string {
  const input = model.graph.inputs.find((i) => i.name === 'attention_mask');
  if (!input)
    throw new WinnowError('invalid_graph', {
      where: 'head attachment',
      expected: 'an input attention_mask for mean pooling',
      got: model.graph.inputs.map((i) => i.name).join(', '),
    });
  const mask = g.unsqueeze(g.cast('attention_mask', 'float32'), [2]);
  return g.div(g.reduceSum(g.mul(states, mask), [1], false), g.reduceSum(mask, [1], false));
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

export interface FreshHead {
  readonly pooling: Head['pooling'];
  readonly hidden: number;
  /** With a dense layer [hidden, hidden] and this activation in between; absent: the linear output alone. */
  readonly dense?: Activation;
  readonly labels?: number;
  readonly seed: number;
}

/** A head to be trained: weights N(0, 0.02) as PyTorch's encoders start theirs, biases 0. */
export function freshHead({ pooling, hidden, dense, labels = 1, seed }: FreshHead): Head {
  const random = createRandom(seed);
  const out = freshLinear(random, labels, hidden);
  return dense === undefined
    ? { pooling, out }
    : { pooling, dense: freshLinear(random, hidden, hidden), activation: dense, out };
}

function freshLinear(random: Random, outputs: number, inputs: number): Linear {
  const values = Array.from({ length: outputs * inputs }, () => 0.02 * random.normal());
  return {
    weight: tensor('float32', [outputs, inputs], values),
    bias: tensor('float32', [outputs], new Array(outputs).fill(0)),
  };
}

/** The model with one of its outputs only. */
export function onlyOutput(model: Model, name: string): Model {
  const outputs = model.graph.outputs.filter((o) => o.name === name);
  if (outputs.length === 0)
    throw new WinnowError('invalid_graph', {
      where: 'model',
      expected: `an output ${name}`,
      got: model.graph.outputs.map((o) => o.name).join(', '),
    });
  return Object.freeze({ ...model, graph: prune(freezeGraph({ ...model.graph, outputs })) });
}
