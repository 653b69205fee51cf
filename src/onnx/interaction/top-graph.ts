import type { Checkpoint } from '../architectures/checkpoint.ts';
import { activate, biasOf, linear, norm, parameter, splitHeads } from '../architectures/parts.ts';
import { MASK_INPUT } from '../architectures/pooling.ts';
import {
  appendLayer,
  feedForward,
  halfNorm,
  type LayerStack,
  openLayers,
  selfAttention,
} from '../architectures/post-norm.ts';
import { type GraphBuilder, modelOf } from '../builder.ts';
import type { Model } from '../graph.ts';
import { float32, float32View } from '../tensor.ts';
import { crossName, headName, layerName, NAMES, normName } from './names.ts';
import { awayFromFirst, familyOf, firstToken, rowDot, SCALES, STATES, textVector, VECTOR } from './parts.ts';
import type { KeptType } from './passage-graph.ts';
import { type InteractionSettings, readInteraction } from './settings.ts';

/*
 * The graph that scores passages by their kept states. A batch holds queries [queries, sequence] and passages [batch, length]; `query_of` says which
 * query each passage is scored against, so that passages of several requests share a batch. The query's lower layers run once a query.
 *
 * No key and no value of a passage is formed (the keys' matrix is folded into the queries, the values' into what comes after): with W_k,i and W_v,i
 * of head i and the passage's states D,
 *
 *   logits_i = (q_i W_k,i / √d) Dᵀ        (q_i · b_k,i is one number a row, which the softmax drops)
 *   out_i    = (softmax(logits_i) D) W_v,iᵀ        (b_v goes through the output projection into its bias)
 */

export const QUERY_OF = 'query_of';
export const PASSAGE_MASK = 'passage_mask';

/**
 * Numbers of a state that are multiplied and added at once. The engine adds longer products in blocks, whose length depends on the length of the
 * longest passage of the batch and on the threads; the blocks here are always the same, and so are the bits of a score.
 */
const PIECE = 128;

interface Piece {
  readonly from: number;
  readonly to: number;
}

function piecesOf(hidden: number): readonly Piece[] {
  const count = Math.ceil(hidden / PIECE);
  const at = (i: number) => Math.round((i * hidden) / count);
  return Array.from({ length: count }, (_, i) => ({ from: at(i), to: at(i + 1) }));
}

interface Top {
  readonly stack: LayerStack;
  readonly settings: InteractionSettings;
  /** Decoded states of passages, [batch, length, hidden]. */
  readonly passages: string;
  /** The same in pieces of at most `PIECE` numbers of each state, and where the pieces lie. */
  readonly pieces: readonly (Piece & { readonly passages: string })[];
  /** Added to the logits of a passage's tokens, [batch, 1, length]. */
  readonly passageMask: string;
  /** Takes a value of each query to the rows that are scored against it. */
  readonly perRow: (value: string) => string;
}

/** Appends the inputs of passages. */
function openTop(stack: LayerStack, settings: InteractionSettings, kept: KeptType): Top {
  const { parts, sizes } = stack;
  const { g } = parts;
  g.input(QUERY_OF, 'int64', ['batch']);
  g.input(STATES, kept, ['batch', 'length', sizes.hidden]);
  if (kept === 'int8') g.input(SCALES, 'float32', ['batch', 'length']);
  g.input(PASSAGE_MASK, 'int64', ['batch', 'length']);
  if (settings.form === 'cosine') g.input(VECTOR, 'float32', ['batch', sizes.hidden]);
  const passages = kept === 'int8' ? decoded(g, sizes.hidden) : g.cast(STATES, 'float32');
  const cut = piecesOf(sizes.hidden);
  return {
    stack,
    settings,
    passages,
    pieces: cut.map(({ from, to }) => ({
      from,
      to,
      passages: cut.length > 1 ? g.slice(passages, [from], [to], [2]) : passages,
    })),
    passageMask: biasOf(parts, g.cast(g.unsqueeze(PASSAGE_MASK, [1]), 'bool')),
    perRow: (value) => g.gather(value, QUERY_OF),
  };
}

/** Multiplies int8 states by the scale of their token, in one pass over them. */
function decoded(g: GraphBuilder, hidden: number): string {
  const flat = g.reshape(STATES, [-1, hidden]);
  const states = g.op('DequantizeLinear', [flat, g.reshape(SCALES, [-1])], { axis: 0 });
  return g.reshape(states, g.concat([g.shape(SCALES), g.ints([hidden])], 0));
}

/** The keys' matrix in pieces [heads, size, numbers of a state], by which queries are multiplied; 1/√d is part of it. */
function keysMatrix({ stack: { parts, sizes }, pieces }: Top, at: string): readonly string[] {
  const { g, checkpoint } = parts;
  const { hidden, heads, size } = sizes;
  checkpoint.leaveOut(`${at}key.bias`);
  const weight = float32View(checkpoint.take(`${at}key.weight`, [hidden, hidden]));
  return pieces.map(({ from, to }) => {
    const width = to - from;
    const values = Float32Array.from(
      { length: hidden * width },
      (_, i) => weight[Math.floor(i / width) * hidden + from + (i % width)]! / Math.sqrt(size),
    );
    return g.initializer(
      pieces.length > 1 ? `${at}key.weight.${from}` : `${at}key.weight`,
      float32([heads, size, width], values),
    );
  });
}

/** The values' matrix [heads, hidden, size]. */
function valuesMatrix({ stack: { parts, sizes } }: Top, at: string): string {
  const { hidden, heads, size } = sizes;
  return parameter(parts, `${at}value.weight`, () => {
    const weight = float32View(parts.checkpoint.take(`${at}value.weight`, [hidden, hidden]));
    const out = new Float32Array(weight.length);
    for (let i = 0; i < heads; i++)
      for (let c = 0; c < hidden; c++)
        for (let r = 0; r < size; r++) out[(i * hidden + c) * size + r] = weight[(i * size + r) * hidden + c]!;
    return float32([heads, hidden, size], out);
  });
}

/** Output projection of what the heads read: weight as [in, out], and W_o b_v + b_o; of the cosine form times the gate. */
function projectOut({ stack: { parts, sizes }, settings }: Top, at: string, x: string): string {
  const { g, checkpoint } = parts;
  const { hidden } = sizes;
  const weight = checkpoint.take(`${at}output.weight`, [hidden, hidden]);
  const matrix = float32View(weight);
  const values = float32View(checkpoint.take(`${at}value.bias`, [hidden]));
  const gate =
    settings.form === 'cosine'
      ? float32View(checkpoint.take(`${at.replace(/cross\.$/, '')}gate`, [hidden]))
      : new Float32Array(hidden).fill(1);
  const bias = float32View(checkpoint.take(`${at}output.bias`, [hidden])).map((b, o) => {
    let sum = b;
    for (let c = 0; c < hidden; c++) sum += matrix[o * hidden + c]! * values[c]!;
    return sum * gate[o]!;
  });
  const turned = new Float32Array(matrix.length);
  for (let o = 0; o < hidden; o++)
    for (let c = 0; c < hidden; c++) turned[c * hidden + o] = matrix[o * hidden + c]! * gate[o]!;
  const product = g.matmul(x, g.initializer(`${at}output.weight`, float32([hidden, hidden], turned)));
  return g.add(product, g.initializer(`${at}output.bias`, float32([hidden], bias)));
}

/**
 * Returns what the heads of tokens look for: (q_i W_k,i / √d), [batch, heads · tokens, hidden], in pieces of the hidden size.
 * @param x states of the queries before the first passage is read (`i` = 0), later of each row: [.., tokens, hidden].
 */
function lookFor(top: Top, i: number, x: string): readonly string[] {
  const { parts, sizes } = top.stack;
  const { hidden, heads, size } = sizes;
  const at = crossName(i);
  const query = linear(parts, x, `${at}query`, { from: hidden, to: hidden });
  const split = splitHeads(parts, query, heads, size, [0, 2, 1, 3]);
  const queries = i === 0 ? top.perRow(split) : split;
  return keysMatrix(top, at).map((keys, n) => {
    const { from, to } = top.pieces[n]!;
    return parts.g.reshape(parts.g.matmul(queries, keys), [0, -1, to - from]);
  });
}

/** Returns what tokens read in the passages, after the output projection, [batch, tokens, hidden]. @param wanted what `lookFor` returned, a row each. */
function readPassages(top: Top, at: string, wanted: readonly string[]): string {
  const { parts, sizes } = top.stack;
  const { g } = parts;
  const { hidden, heads } = sizes;
  const products = wanted.map((rows, n) => g.matmul(rows, top.pieces[n]!.passages, { transB: true }));
  const logits = g.add(products.reduce(g.add), top.passageMask);
  const found = g.matmul(g.softmax(logits), top.passages);
  const values = g.matmul(g.reshape(found, g.ints([0, heads, -1, hidden])), valuesMatrix(top, at));
  return projectOut(top, at, g.reshape(g.transpose(values, [0, 2, 1, 3]), [0, 0, hidden]));
}

/** States of a query in the top, and the bias of attention among them: of each query before the first passage is read, then of each row. */
interface Query {
  readonly x: string;
  readonly mask: string;
}

/** What a layer of the top is: its number, the names of its weights, and whether the first token alone is read after it. */
interface TopLayer {
  readonly i: number;
  readonly at: string;
  readonly isNarrow: boolean;
}

/** h ← LN_1(h + SelfAttn(h) + g ⊙ CrossAttn(h, D)), h ← LN_2(h + FFN(h)). */
function cosineLayer(top: Top, layer: TopLayer, { x, mask }: Query): string {
  const { stack } = top;
  const { g } = stack.parts;
  const { at, i, isNarrow } = layer;
  const of = isNarrow ? firstState(top, x) : x;
  const alone = g.add(selfAttention(stack, at, { x, of, mask: isNarrow ? firstRow(top, mask) : mask }), of);
  const read = readPassages(top, crossName(i), lookFor(top, i, of));
  const sum = g.add(i === 0 ? top.perRow(alone) : alone, read);
  return feedForward(
    stack.parts,
    stack.family,
    at,
    halfNorm(stack.parts, stack.family, at, sum, stack.sizes),
    stack.sizes,
  );
}

/** h ← LN_c(h + CrossAttn(h, D)), h ← LN_1(h + SelfAttn(h)), h ← LN_2(h + FFN(h)). @param mask of each row. */
function firstLayer(top: Top, layer: TopLayer, { x, mask }: Query): string {
  const { stack } = top;
  const { parts, family, sizes } = stack;
  const { g } = parts;
  const { at, i, isNarrow } = layer;
  const read = readPassages(top, crossName(i), lookFor(top, i, x));
  const sum = g.add(i === 0 ? top.perRow(x) : x, read);
  const states = norm(parts, sum, normName(i), { size: sizes.hidden, epsilon: sizes.epsilon });
  const of = isNarrow ? firstState(top, states) : states;
  const attended = selfAttention(stack, at, { x: states, of, mask: isNarrow ? firstRow(top, mask) : mask });
  return feedForward(parts, family, at, halfNorm(parts, family, at, g.add(attended, of), sizes), sizes);
}

const firstState = ({ stack }: Top, x: string): string => stack.parts.g.slice(x, [0], [1], [1]);
const firstRow = ({ stack }: Top, mask: string): string => stack.parts.g.slice(mask, [0], [1], [2]);

/** score = a · cos + f([h_first ; pool(h)]), [batch, 1]. */
function cosineScore(top: Top, x: string): string {
  const { parts, sizes } = top.stack;
  const { g, checkpoint } = parts;
  const { hidden } = sizes;
  const { pooled, unit } = textVector(g, x, top.perRow(MASK_INPUT), top.settings.pooling);
  const dims = checkpoint.rank(NAMES.scale) === 0 ? [] : [1];
  const scale = g.initializer(NAMES.scale, checkpoint.take(NAMES.scale, dims));
  const both = g.concat([firstToken(g, x), pooled], 1);
  const wide = checkpoint.rows(`${headName(0)}.weight`);
  const inner = activate(parts, linear(parts, both, headName(0), { from: 2 * hidden, to: wide }), 'gelu');
  const more = linear(parts, inner, headName(1), { from: wide ?? hidden, to: 1 });
  return g.add(g.mul(rowDot(g, unit, VECTOR), scale), more);
}

/** score = w · tanh(W_p h_first + b_p) + b, [batch, 1]. */
function firstScore({ stack: { parts, sizes } }: Top, x: string): string {
  const { hidden } = sizes;
  const pooled = linear(parts, firstToken(parts.g, x), NAMES.pooler, { from: hidden, to: hidden });
  return linear(parts, activate(parts, pooled, 'tanh'), NAMES.classifier, { from: hidden, to: 1 });
}

/** Names of the top's weights: its own where training changed them, which passages do not read, else the encoder's. */
function layersOf({ stack, settings }: Top): readonly TopLayer[] {
  const { layers, parts } = stack;
  return Array.from({ length: settings.top }, (_, i) => {
    const own = layerName(i);
    const at = parts.checkpoint.hasAny(own) ? own : layers[settings.bottom + i]!;
    return { i, at, isNarrow: settings.pooling === 'cls' && i + 1 === settings.top };
  });
}

/**
 * Builds the graph that scores passages by their kept states: `logits` [batch, 1].
 * @param kept type of the states that the graph of passages gives.
 * @throws WinnowError `invalid_input` with file and field or tensor.
 */
export function topGraph(checkpoint: Checkpoint, kept: KeptType): Model {
  const stack = openLayers(checkpoint, familyOf(checkpoint), 'queries');
  const settings = readInteraction(checkpoint.settings, stack.layers.length);
  const alone = stack.layers.slice(0, settings.bottom).reduce((x, at) => appendLayer(stack, at, x), stack.x);
  const top = openTop(stack, settings, kept);
  const { g } = stack.parts;
  const isCosine = settings.form === 'cosine';
  const open = isCosine ? stack.mask : g.add(stack.mask, awayFromFirst(stack.parts));
  // The first layer of the cosine form looks at the query alone before it looks at a passage.
  const rowMask = settings.top > 1 || !isCosine ? top.perRow(open) : open;
  let x = alone;
  for (const layer of layersOf(top))
    x = isCosine
      ? cosineLayer(top, layer, { x, mask: layer.i === 0 ? open : rowMask })
      : firstLayer(top, layer, { x, mask: rowMask });
  g.output(isCosine ? cosineScore(top, x) : firstScore(top, x), 'float32', ['batch', 1], 'logits');
  checkpoint.checkUnused([NAMES.prefix]);
  return modelOf(g.build());
}
