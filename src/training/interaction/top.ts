import type { Checkpoint } from '../../onnx/architectures/checkpoint.ts';
import { activate, biasOf, linear, norm, parameter, transposed } from '../../onnx/architectures/parts.ts';
import { MASK_INPUT } from '../../onnx/architectures/pooling.ts';
import {
  appendLayer,
  feedForward,
  halfNorm,
  type LayerStack,
  openLayers,
  selfAttention,
} from '../../onnx/architectures/post-norm.ts';
import { modelOf } from '../../onnx/builder.ts';
import { freezeGraph, type Model } from '../../onnx/graph.ts';
import { crossName, gateName, headName, layerName, NAMES, normName } from '../../onnx/interaction/names.ts';
import {
  awayFromFirst,
  familyOf,
  firstToken,
  rowDot,
  SCALES,
  STATES,
  textVector,
  VECTOR,
} from '../../onnx/interaction/parts.ts';
import type { KeptType } from '../../onnx/interaction/passage-graph.ts';
import type { InteractionSettings } from '../../onnx/interaction/settings.ts';
import { PASSAGE_MASK, QUERY_OF } from '../../onnx/interaction/top-graph.ts';
import { PROBE_BATCH, PROBE_LENGTH } from '../../onnx/probe.ts';

/*
 * The top of an interaction model as training differentiates it. It computes what `topGraph` serves, from weights that keep their names and shapes:
 * matrices are reshaped into heads inside the graph, gates are products, and the bias of values is added where it stands.
 *
 * As there, no key or value of a passage is formed: with W_k,i and W_v,i of head i and the passage's states D,
 *
 *   scores_i = (q_i W_k,i) Dᵀ / √d        out_i = (softmax(scores_i) D) W_v,iᵀ + b_v,i
 *
 * so that passages cost heads · tokens of the query · tokens of the passage · hidden, forward and backward, and their states get no gradient.
 */

interface Top {
  readonly stack: LayerStack;
  /** Decoded states of passages, [rows, length, hidden]. */
  readonly passages: string;
  /** Added to the scores of a passage's tokens, [rows, 1, length]. */
  readonly passageMask: string;
}

/** States of queries: one row a query before the first passage is read, then one a pair. */
interface Query {
  readonly x: string;
  readonly isPaired: boolean;
}

/** Takes rows of queries to the pairs that they belong to. */
const perPair = ({ stack }: Top, x: string): string => stack.parts.g.gather(x, QUERY_OF);

/** Appends the inputs of passages. States of float16 arrive as float32: the engine's binding takes no arrays of float16. */
function openTop(stack: LayerStack, { form }: InteractionSettings, kept: KeptType): Top {
  const { parts, sizes } = stack;
  const { g } = parts;
  const probe = [PROBE_BATCH, PROBE_LENGTH];
  g.input(QUERY_OF, 'int64', ['rows'], [PROBE_BATCH]);
  const isInt8 = kept === 'int8';
  g.input(STATES, isInt8 ? 'int8' : 'float32', ['rows', 'length', sizes.hidden], [...probe, sizes.hidden]);
  if (isInt8) g.input(SCALES, 'float32', ['rows', 'length'], probe);
  g.input(PASSAGE_MASK, 'int64', ['rows', 'length'], probe);
  if (form === 'cosine') g.input(VECTOR, 'float32', ['rows', sizes.hidden], [PROBE_BATCH, sizes.hidden]);
  return {
    stack,
    passages: isInt8 ? g.mul(g.cast(STATES, 'float32'), g.unsqueeze(SCALES, [2])) : STATES,
    passageMask: biasOf(parts, g.cast(g.unsqueeze(PASSAGE_MASK, [1]), 'bool')),
  };
}

/** Writes a matrix [in, out] whose heads are apart, in the order of `perm` of [in, heads, size]. */
function headsOf({ stack: { parts, sizes } }: Top, name: string, perm: readonly number[]): string {
  const { g, checkpoint } = parts;
  const { hidden, heads, size } = sizes;
  const weight = parameter(parts, name, () => transposed(checkpoint.take(name, [hidden, hidden])));
  return g.transpose(g.reshape(weight, [hidden, heads, size]), perm);
}

/** Writes the attention scores of query tokens to passage tokens, [rows, heads · query tokens, length]. */
function crossScores(top: Top, at: string, { x, isPaired }: Query): string {
  const { parts, sizes } = top.stack;
  const { g } = parts;
  const { hidden, heads, size } = sizes;
  const query = linear(parts, x, `${at}query`, { from: hidden, to: hidden });
  const split = g.reshape(g.transpose(g.reshape(query, [0, 0, heads, size]), [2, 0, 1, 3]), [0, -1, size]);
  const wanted = g.matmul(split, headsOf(top, `${at}key.weight`, [1, 2, 0]));
  const rows = g.slice(g.shape(x), [0], [2], [0]);
  const apart = g.reshape(wanted, g.concat([g.ints([heads]), rows, g.ints([hidden])], 0));
  const byRow = g.transpose(apart, [1, 0, 2, 3]);
  const paired = g.reshape(isPaired ? byRow : perPair(top, byRow), [0, -1, hidden]);
  return g.matmul(paired, top.passages, { transB: true, alpha: 1 / Math.sqrt(size) });
}

/** Writes what query tokens read in their passages, [rows, query tokens, hidden]. */
function crossAttention(top: Top, at: string, query: Query): string {
  const { parts, sizes } = top.stack;
  const { g, checkpoint } = parts;
  const { hidden, heads } = sizes;
  const shares = g.softmax(g.add(crossScores(top, at, query), top.passageMask));
  const found = g.reshape(g.matmul(shares, top.passages), [0, heads, -1, hidden]);
  const byHead = g.reshape(g.transpose(found, [1, 0, 2, 3]), [0, -1, hidden]);
  const values = g.matmul(byHead, headsOf(top, `${at}value.weight`, [1, 0, 2]));
  const tokens = g.slice(g.shape(query.x), [1], [2], [0]);
  const joined = g.reshape(g.transpose(values, [1, 0, 2]), g.concat([g.ints([-1]), tokens, g.ints([hidden])], 0));
  const bias = parameter(parts, `${at}value.bias`, () => checkpoint.take(`${at}value.bias`, [hidden]));
  return linear(parts, g.add(joined, bias), `${at}output`, { from: hidden, to: hidden });
}

/** Normalizes a sum and writes the layer's feed-forward part. */
function finish({ stack }: Top, at: string, sum: string): string {
  const { parts, family, sizes } = stack;
  return feedForward(parts, family, at, halfNorm(parts, family, at, sum, sizes), sizes);
}

/** h ← LN₁(h + SelfAttn(h) + g ⊙ CrossAttn(h, D)), h ← LN₂(h + FFN(h)); score = a·cos(pool(h), v) + f([h_first; pool(h)]). */
function cosineForm(top: Top, query: string, { top: layers, pooling }: InteractionSettings): string {
  const { parts, sizes, mask } = top.stack;
  const { g, checkpoint } = parts;
  const { hidden } = sizes;
  const take = (name: string, size: number) => parameter(parts, name, () => checkpoint.take(name, [size]));
  let x = query;
  const pairMask = layers > 1 ? perPair(top, mask) : mask;
  for (let i = 0; i < layers; i++) {
    const isPaired = i > 0;
    const own = g.add(selfAttention(top.stack, layerName(i), { x, of: x, mask: isPaired ? pairMask : mask }), x);
    const read = g.mul(crossAttention(top, crossName(i), { x, isPaired }), take(gateName(i), hidden));
    x = finish(top, layerName(i), g.add(isPaired ? own : perPair(top, own), read));
  }
  const { pooled, unit } = textVector(g, x, perPair(top, MASK_INPUT), pooling);
  const cosine = g.mul(rowDot(g, unit, VECTOR), take(NAMES.scale, 1));
  const both = g.concat([firstToken(g, x), pooled], 1);
  const inner = activate(parts, linear(parts, both, headName(0), { from: 2 * hidden, to: hidden }), 'gelu');
  return g.add(cosine, linear(parts, inner, headName(1), { from: hidden, to: 1 }));
}

/**
 * h ← LN_c(h + CrossAttn(h, D)), h ← LN₁(h + SelfAttn(h)), in which only the first token looks at the first, h ← LN₂(h + FFN(h));
 * score = w·tanh(W h_first + b) + c. The last layer is computed for the first token alone.
 */
function firstForm(top: Top, query: string, { top: layers }: InteractionSettings): string {
  const { parts, sizes, mask } = top.stack;
  const { g } = parts;
  const { hidden, epsilon } = sizes;
  const pairMask = g.add(perPair(top, mask), awayFromFirst(parts));
  let x = query;
  for (let i = 0; i < layers; i++) {
    const isPaired = i > 0;
    const read = crossAttention(top, crossName(i), { x, isPaired });
    const sum = g.add(read, isPaired ? x : perPair(top, x));
    const states = norm(parts, sum, normName(i), { size: hidden, epsilon });
    const isLast = i + 1 === layers;
    const of = isLast ? g.slice(states, [0], [1], [1]) : states;
    const open = isLast ? g.slice(pairMask, [0], [1], [2]) : pairMask;
    const attended = selfAttention(top.stack, layerName(i), { x: states, of, mask: open });
    x = finish(top, layerName(i), g.add(attended, of));
  }
  const inner = linear(parts, g.squeeze(x, [1]), NAMES.pooler, { from: hidden, to: hidden });
  return linear(parts, activate(parts, inner, 'tanh'), NAMES.classifier, { from: hidden, to: 1 });
}

/** The inputs of queries have sizes of their own in the probing batch, and the first input has a row a pair. */
function withProbes(model: Model): Model {
  const ofQueries = [PROBE_BATCH + 1, PROBE_LENGTH - 1];
  const inputs = model.graph.inputs.map((input) =>
    input.probe ? input : { ...input, dims: ['queries', 'query_tokens'], probe: ofQueries },
  );
  const rest = inputs.filter(({ name }) => name !== QUERY_OF);
  return {
    ...model,
    graph: freezeGraph({ ...model.graph, inputs: [...inputs.filter((i) => !rest.includes(i)), ...rest] }),
  };
}

/**
 * Builds the graph of the top for training: `input_ids`, `attention_mask` [queries, query_tokens], `query_of` [rows], and of passages `states`,
 * `scales`, `passage_mask` [rows, length] and, in form cosine, `vector` [rows, hidden] → `logits` [rows, 1].
 * @param checkpoint The encoder's weights and those of `initialWeights`; every token has one type.
 * @throws WinnowError `invalid_input` for weights that do not fit.
 */
export function trainedTop(checkpoint: Checkpoint, settings: InteractionSettings, kept: KeptType): Model {
  const stack = openLayers(checkpoint, familyOf(checkpoint));
  const query = stack.layers.slice(0, settings.bottom).reduce((x, at) => appendLayer(stack, at, x), stack.x);
  const top = openTop(stack, settings, kept);
  const logits = settings.form === 'cosine' ? cosineForm(top, query, settings) : firstForm(top, query, settings);
  stack.parts.g.output(logits, 'float32', ['rows', 1], 'logits');
  return withProbes(modelOf(stack.parts.g.build()));
}
