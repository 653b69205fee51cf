import { GraphBuilder, MICROSOFT } from '../builder.ts';
import { attrNumber, type Graph, type Node } from '../graph.ts';
import type { Shapes } from '../probe.ts';
import { tensor } from '../tensor.ts';
import { appendExchange, appendTurned, splitOf } from './int8-heads.ts';
import { MaskChannels, maskChannels, maskingAdd } from './int8-mask.ts';
import {
  appendProduct,
  type IntegerProduct,
  productOf,
  type Replacements,
  replaceNodes,
  rescaled,
} from './int8-products.ts';
import { largest } from './linears.ts';
import { Matcher } from './matcher.ts';

/*
 * Attention scores by an integer product: queries and keys are quantized where they leave their layers, with one static step each. Heads are
 * split and turned in 8 bits, which also moves a quarter of the bytes. The product of probabilities and values stays in float: in 8 bits it
 * costs more accuracy than it saves time.
 */

/** One factor of attention scores: the float value it starts from, and the nodes that move its elements until they are multiplied. */
interface Operand {
  readonly source: string;
  readonly moves: readonly Node[];
}

/** A product of queries and keys, and the node that scales it, if there is one. */
export interface ScoreProduct {
  readonly product: Node;
  /** The last of product and scaling. */
  readonly last: Node;
  /** What the Softmax reads: the scores with bias and mask. */
  readonly biased: string;
  readonly alpha: number;
  readonly query: Operand;
  readonly key: Operand;
}

/** Nodes between a product and the Softmax: its scaling, a bias and a mask. */
const DEPTH = 4;

/** Finds the products of queries and keys, in the graph's order. */
export function findScoreProducts(graph: Graph, shapes: Shapes): readonly ScoreProduct[] {
  const m = new Matcher(graph, shapes);
  const softmax = graph.nodes.filter((n) => n.op === 'Softmax' && n.domain === '');
  return softmax.flatMap(({ inputs: [biased] }) =>
    productsBehind(m, biased, DEPTH).map((found) => ({ ...found, biased: biased! })),
  );
}

type Found = Omit<ScoreProduct, 'biased'>;

function productsBehind(m: Matcher, value: string | undefined, depth: number): readonly Found[] {
  if (value === undefined || depth === 0 || m.valueReaders(value).length !== 1) return [];
  const own = scoresAt(m, value);
  if (own) return [own];
  const sum = m.made(value, 'Add') ?? m.made(value, 'Where');
  return (sum?.inputs ?? []).flatMap((input) => productsBehind(m, input, depth - 1));
}

function scoresAt(m: Matcher, value: string): Found | undefined {
  const scaling = m.made(value, 'Div') ?? m.made(value, 'Mul');
  const constant = scaling?.inputs.find((i) => m.scalar(i) !== undefined);
  const turned = scaling?.op === 'Div' && scaling.inputs[1] !== constant;
  const scaled = scaling && constant !== undefined && !turned ? m.other(scaling, constant) : undefined;
  if (scaling && scaled === undefined) return undefined;
  if (scaled !== undefined && m.valueReaders(scaled).length !== 1) return undefined;
  const product = m.made(scaled ?? value, 'MatMul') ?? m.made(scaled ?? value, 'FusedMatMul', MICROSOFT);
  const unusual = ['transA', 'transBatchA', 'transBatchB'].some(
    (name) => product && attrNumber(product, name, 0) !== 0,
  );
  if (!product || unusual || product.inputs.some((i) => m.dims(i)?.length !== 4)) return undefined;
  const [query, key] = product.inputs.map((input) => operandOf(m, input)) as [Operand, Operand];
  if (![query, key].every(({ source }) => comesFromIntegers(m, source))) return undefined;
  const factor = scaled === undefined ? 1 : scaling!.op === 'Div' ? 1 / m.scalar(constant)! : m.scalar(constant)!;
  return {
    product,
    last: scaling ?? product,
    alpha: factor * attrNumber(product, 'alpha', 1),
    query,
    key,
  };
}

/** Nodes between a layer and its use in attention: a normalization or rotation of queries and keys. */
const BETWEEN = 24;

/** Whether every layer that `value` is computed from is an integer product: what is kept in float32 for its accuracy stays so. */
function comesFromIntegers(m: Matcher, value: string): boolean {
  const open = [value];
  let found = false;
  for (let i = 0; i < open.length && i < BETWEEN; i++) {
    const node = m.maker(open[i]!);
    const kind = node?.op ?? '';
    if (kind === 'MatMulIntegerToFloat') found = true;
    else if (kind === 'MatMul' || kind === 'Gemm' || kind === 'LayerNormalization') return false;
    else open.push(...(node?.inputs ?? []).filter((input) => input !== '' && !open.includes(input)));
  }
  return found;
}

/** Follows a factor back through the nodes that only move its elements. */
function operandOf(m: Matcher, value: string): Operand {
  const move = m.made(value, 'Reshape') ?? m.made(value, 'Transpose');
  if (!move || m.valueReaders(value).length !== 1) return { source: value, moves: [] };
  const { source, moves } = operandOf(m, move.inputs[0]!);
  return { source, moves: [...moves, move] };
}

/** A product with the largest magnitudes of its factors, per channel of the sources. */
export interface ScoreRange {
  readonly scores: ScoreProduct;
  readonly query: Float32Array;
  readonly key: Float32Array;
  /** How far the largest score of any two tokens is above the largest of the query that has the lowest. */
  readonly span: number;
  /** Shares of the ranges that are covered; the rest is clipped. */
  readonly clips: { readonly query: number; readonly key: number };
}

/**
 * Queries have 7 bits around 64 and are clipped to them, keys 8 bits: the sum of two products is below 2¹⁵, so processors without VNNI,
 * which add such pairs in 16 bits, do not saturate.
 */
export const QUERY_LEVELS = 63;
const QUERY_ZERO = 64;
export const KEY_LEVELS = 127;

/** Names of two values of a batch, [batch, queries, heads]: the queries of text count, those of padding are read by nothing. */
interface ScoreExtremes {
  /** The largest score that each query has with any token, padding included. */
  readonly highest: string;
  /** The largest score that each query has with text, negated. */
  readonly lowest: string;
}

/** Returns a graph that also gives the extremes of each product's scores. */
export function withScoreExtremes(
  graph: Graph,
  products: readonly ScoreProduct[],
): { readonly graph: Graph; readonly extremes: readonly ScoreExtremes[] } {
  const g = GraphBuilder.from(graph);
  const largestOf = (scores: string) => g.transpose(g.reduceMax(scores, [3], false), [0, 2, 1]);
  const extremes = products.map(({ last, biased }) => ({
    highest: largestOf(last.outputs[0]!),
    lowest: g.neg(largestOf(biased)),
  }));
  return { graph: g.build(), extremes };
}

/** Returns √(max|k| / max|q|) for each channel: with q multiplied and k divided by it, both have the same range in every channel. */
export const balanceOf = ({ query, key }: Pick<ScoreRange, 'query' | 'key'>): Float32Array =>
  query.map((q, c) => (q > 0 && key[c]! > 0 ? Math.sqrt(key[c]! / q) : 1));

/** Returns the layers that make both factors, where their columns can be scaled: channel c of one meets channel c of the other. */
function layersOf(m: Matcher, { scores }: ScoreRange): readonly [IntegerProduct, IntegerProduct] | undefined {
  const { query, key } = scores;
  const layers = [query, key].map(({ source }) =>
    m.valueReaders(source).length === 1 && m.dims(source)?.length !== 4 ? productOf(m, source) : undefined,
  );
  const [q, k] = layers;
  const heads = [query, key].map(({ moves }) => m.dims(moves.find((n) => n.op === 'Reshape')?.outputs[0]));
  const alike = heads.every((dims) => dims?.length === 4) && String(heads[0]!.slice(2)) === String(heads[1]!.slice(2));
  return q && k && alike && q.scales.length === k.scales.length ? [q, k] : undefined;
}

/** Appends the source of an operand in 8 bits, at most `most`. */
function appendBytes(g: GraphBuilder, source: string, step: string, zero: string, most?: number): string {
  const integers = g.op('QuantizeLinear', [source, step, zero]);
  const byte = (value: number) => g.constant(tensor('uint8', [], [value]));
  return most === undefined ? integers : g.op('Clip', [integers, byte(0), byte(most)]);
}

/** Appends the nodes that moved the floats of an operand, for its bytes. */
const appendMoves = (g: GraphBuilder, bytes: string, moves: readonly Node[]): string =>
  moves.reduce((value, move) => {
    const output = g.unique(`${move.outputs[0]!}_int8`);
    g.append({
      ...move,
      name: g.unique(`${move.name}_int8`),
      inputs: [value, ...move.inputs.slice(1)],
      outputs: [output],
    });
    return output;
  }, bytes);

interface Steps {
  readonly query: number;
  readonly key: number;
}

const stepsOf = ({ query, key, clips }: ScoreRange): Steps => ({
  query: (clips.query * largest(query)) / QUERY_LEVELS || 1,
  key: (clips.key * largest(key)) / KEY_LEVELS || 1,
});

/** Channels that mask padding, and the shapes that they depend on. */
interface Masking {
  readonly channels: MaskChannels;
  readonly count: number;
  readonly heads: number;
  /** What tells queries of this shape from others. */
  readonly shape: string;
}

function appendScores(
  g: GraphBuilder,
  m: Matcher,
  range: ScoreRange,
  output: string,
  masking: Masking | undefined,
): void {
  const { product, alpha, query, key } = range.scores;
  const steps = stepsOf(range);
  const scalar = (value: number) => g.constant(tensor('float32', [], [value]), 'step');
  const zero = g.constant(tensor('uint8', [], [QUERY_ZERO]), 'zero_point');
  const keyStep = scalar(steps.key);
  const queries = appendBytes(g, query.source, scalar(steps.query), zero, QUERY_ZERO + QUERY_LEVELS);
  const keys = appendBytes(g, key.source, keyStep, g.constant(tensor('int8', [], [0]), 'zero_point'));
  const { channels, count, heads, shape } = masking ?? { channels: undefined, count: 0, heads: 0, shape: '' };
  const appendQueries = (): string => {
    const split = splitOf(m, query.source, query.moves);
    if (split && !split.turned) {
      const turned = appendTurned(g, queries, split);
      return appendExchange(g, channels?.turnedQuery(turned, count, QUERY_ZERO, shape) ?? turned);
    }
    const moved = appendMoves(g, queries, query.moves);
    return channels?.query(moved, count, QUERY_ZERO, shape) ?? moved;
  };
  const appendKeys = (): string => {
    const split = splitOf(m, key.source, key.moves);
    const isTurned = attrNumber(product, 'transB', 0) !== 1;
    if (split && split.turned === isTurned) return appendTurned(g, keys, split);
    const moved = appendMoves(g, keys, key.moves);
    return isTurned ? moved : appendExchange(g, moved);
  };
  const left = appendQueries();
  const right = appendKeys();
  g.append({
    op: 'MatMulIntegerToFloat',
    domain: MICROSOFT,
    name: product.name,
    inputs: [left, channels?.key(right, count, heads) ?? right, scalar(steps.query * alpha), keyStep, zero],
    outputs: [output],
    attrs: {},
  });
}

/** Returns the Add of the padding mask and the channels that replace it, where few do. */
function maskingOf(
  m: Matcher,
  range: ScoreRange,
  biases: ReadonlySet<string>,
): (Omit<Masking, 'channels'> & { add: Node }) | undefined {
  const { last, alpha, product } = range.scores;
  const add = maskingAdd(m, last.outputs[0]!, biases);
  const steps = stepsOf(range);
  const count = add && maskChannels(steps.query * steps.key * alpha, range.span);
  const [queries, keys] = product.inputs.map((input) => m.dims(input));
  return add && count && queries && keys ? { add, count, heads: keys[1]!, shape: queries.join() } : undefined;
}

/**
 * Rewrites products of queries and keys to int8. Where two int8 layers make the factors, their channels are balanced first, which is exact.
 * @param shapes of the graph, by a probing batch.
 * @param biases values that mask padding (`paddingBiases`).
 */
export function quantizeScores(
  graph: Graph,
  ranges: readonly ScoreRange[],
  shapes: Shapes,
  biases: ReadonlySet<string>,
): Graph {
  const m = new Matcher(graph, shapes);
  const at: Replacements = new Map();
  let channels: MaskChannels | undefined;
  for (const range of ranges) {
    const layers = layersOf(m, range);
    const balance = layers && balanceOf(range);
    const balanced = balance
      ? { ...range, query: range.query.map((q, c) => q * balance[c]!), key: range.key.map((k, c) => k / balance[c]!) }
      : range;
    if (layers && balance) {
      const [query, key] = layers;
      at.set(query.node, (g) => appendProduct(g, rescaled(query, balance), query.node.outputs[0]!));
      const inverse = balance.map((t) => 1 / t);
      at.set(key.node, (g) => appendProduct(g, rescaled(key, inverse), key.node.outputs[0]!));
    }
    const masking = maskingOf(m, balanced, biases);
    const last = masking?.add ?? range.scores.last;
    at.set(last, (g) => {
      channels ??= new MaskChannels(g);
      appendScores(g, m, balanced, last.outputs[0]!, masking && { ...masking, channels });
    });
  }
  return replaceNodes(graph, at);
}
