import { GraphBuilder, MICROSOFT } from '../builder.ts';
import { attrNumbers, freezeGraph, freezeNode, type Model, type Node, type ValueInfo } from '../graph.ts';
import { prune, topologicalSort } from '../order.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { type Feeds, runOnce } from '../runner.ts';
import { type Tensor, tensor, view } from '../tensor.ts';
import { Matcher } from './matcher.ts';

/*
 * Fuses softmax(scale·Q Kᵀ + mask) V into `com.microsoft.MultiHeadAttention`, with the lengths of the rows in place of the mask: a GPU has one kernel
 * for it. For serving only: the node has no gradient rule, and padding must stand behind a row's tokens, as the host puts it.
 *
 * Whether a mask is padding and nothing else is read off its numbers: every exporter writes it as other nodes.
 */

/** What tells the node where rows end: their lengths, or lengths with the places where rows begin, which other kernels read. */
export type MaskForm = 'lengths' | 'starts';

interface Attention {
  /** The node that joins the heads: its output is replaced. */
  readonly last: Node;
  /** [batch, heads, length, size]; `key` with its last two axes swapped. */
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly heads: number;
  readonly scale: number;
  readonly mask: string;
}

const isPerm = (node: Node | undefined, ...perm: readonly number[]): boolean =>
  node !== undefined && attrNumbers(node, 'perm')?.join() === perm.join();

/** Strips constant factors: x·c, c·x and x/c. @returns the rest and the product of the factors. */
function unscaled(m: Matcher, value: string): { readonly rest: string; readonly factor: number } {
  const node = m.made(value, 'Mul') ?? m.made(value, 'Div');
  const [left, right] = node?.inputs ?? [];
  const [onLeft, onRight] = [m.scalar(left), m.scalar(right)];
  if (!node || (onRight === undefined && (onLeft === undefined || node.op === 'Div')))
    return { rest: value, factor: 1 };
  const inner = unscaled(m, onRight === undefined ? right! : left!);
  const own = onRight ?? onLeft!;
  return { rest: inner.rest, factor: node.op === 'Mul' ? inner.factor * own : inner.factor / own };
}

/** Returns the only node that reads the numbers of a value, behind reshapes to the same sizes and casts to the same type. */
function reader(m: Matcher, shapes: Shapes, value: string): Node | undefined {
  const [found, ...others] = m.valueReaders(value);
  if (others.length > 0 || !found || found.domain !== '') return undefined;
  const [before, after] = [shapes.get(value), shapes.get(found.outputs[0]!)];
  const isNeutral = before?.dtype === after?.dtype && before?.dims.join() === after?.dims.join();
  const isPassed = isNeutral && found.inputs[0] === value && (found.op === 'Cast' || found.op === 'Reshape');
  return isPassed ? reader(m, shapes, found.outputs[0]!) : found;
}

/** Follows the probabilities to V and to the node that joins the heads, through the zeros that PyTorch puts where all is masked. */
function joined(
  m: Matcher,
  shapes: Shapes,
  softmax: Node,
): { readonly last: Node; readonly value: string } | undefined {
  const raw = softmax.outputs[0]!;
  const guard = m.readers(raw).find((node) => node.op === 'Where');
  const isGuarded = guard !== undefined && m.made(guard.inputs[0], 'IsNaN')?.inputs[0] === raw;
  const product = reader(m, shapes, isGuarded ? guard.outputs[0]! : raw);
  if (product?.op !== 'MatMul' || m.dims(product.inputs[0])?.at(-1) !== m.dims(raw)?.at(-1)) return undefined;
  const turned = reader(m, shapes, product.outputs[0]!);
  if (turned?.op !== 'Transpose' || !isPerm(turned, 0, 2, 1, 3)) return undefined;
  const last = reader(m, shapes, turned.outputs[0]!);
  const isJoined = last?.op === 'Reshape' && m.dims(last.outputs[0])?.length === 3;
  return isJoined ? { last, value: product.inputs[1]! } : undefined;
}

/** Reads attention around a softmax; undefined where it has another form. */
function attentionAt(m: Matcher, shapes: Shapes, softmax: Node): Attention | undefined {
  const dims = m.dims(softmax.outputs[0]);
  const end = joined(m, shapes, softmax);
  const sum = m.made(softmax.inputs[0], 'Add');
  if (dims?.length !== 4 || dims[2] !== dims[3] || !end || !sum) return undefined;
  for (const [scores, mask] of [sum.inputs, sum.inputs.toReversed()] as [string, string][]) {
    const { rest, factor } = unscaled(m, scores);
    const product = m.made(rest, 'MatMul');
    if (!product) continue;
    const [query, key] = product.inputs.map((input) => unscaled(m, input)) as [Unscaled, Unscaled];
    const isSelf = [query, key].every(({ rest: part }) => m.dims(part)?.length === 4);
    if (!isSelf || m.dims(end.value)?.length !== 4) return undefined;
    const scale = factor * query.factor * key.factor;
    return { last: end.last, query: query.rest, key: key.rest, value: end.value, heads: dims[1]!, scale, mask };
  }
  return undefined;
}

type Unscaled = ReturnType<typeof unscaled>;

/** Value that is added to the scores of masked tokens, at most: its exponential is 0. */
const MASKED = -1e4;
/** Token ids of made-up rows are at most as many. */
const IDS = 16;
/** Tokens of the batch on which masks are read. A window that is wider is not seen. */
const LONGEST = 2048;

/** Returns the lengths of the rows on which masks are read, and scores compared. */
export const probeLengths = (length: number): readonly number[] => [length, Math.max(1, length >> 1)];

/** Makes a padded batch of made-up rows of the given lengths; every vocabulary has its ids. */
export function paddedFeeds(inputs: readonly ValueInfo[], lengths: readonly number[]): Feeds {
  const length = Math.max(...lengths);
  const value = (name: string, row: number, at: number): number => {
    if (name === 'token_type_ids') return 0;
    if (name === 'position_ids') return at;
    const isToken = at < lengths[row]!;
    return name === 'attention_mask' ? Number(isToken) : isToken ? 1 + ((7 * at + 3 * row) % IDS) : 0;
  };
  const rows = (name: string) => lengths.flatMap((_, row) => Array.from({ length }, (_, at) => value(name, row, at)));
  return Object.fromEntries(
    inputs.map(({ name, dtype = 'int64' }) => [name, tensor(dtype, [lengths.length, length], rows(name))]),
  );
}

/** Whether a mask adds 0 for the tokens of a row and hides its padding, for every token that is none. */
function isPadding(mask: Tensor, lengths: readonly number[]): boolean {
  const [length] = lengths as [number];
  const [rows, heads, queries, keys] = mask.dims;
  if (mask.dims.length !== 4 || rows !== lengths.length || heads !== 1 || keys !== length) return false;
  if (queries !== 1 && queries !== length) return false;
  const values = view(mask);
  return lengths.every((real, r) => {
    for (let q = 0; q < Math.min(queries, real); q++)
      for (let k = 0; k < length; k++) {
        const value = Number(values[(r * queries + q) * length + k]);
        if (k < real ? value !== 0 : !(value <= MASKED)) return false;
      }
    return true;
  });
}

/** Returns those of the masks that are padding alone, in rows of up to `length` tokens. */
async function paddingMasks(model: Model, masks: ReadonlySet<string>, length: number): Promise<ReadonlySet<string>> {
  const outputs = [...masks].map((name) => ({ name }));
  const graph = prune(freezeGraph({ ...model.graph, outputs }));
  const lengths = probeLengths(length);
  const found = await runOnce({ ...model, graph }, paddedFeeds(graph.inputs, lengths));
  return new Set([...masks].filter((name) => isPadding(found[name]!, lengths)));
}

/** [batch, heads, length, size] → [batch, length, heads·size], by what the graph has already where it can be. */
function flat(g: GraphBuilder, m: Matcher, value: string, isTurned: boolean): string {
  const node = m.made(value, 'Transpose');
  const split = isPerm(node, ...(isTurned ? [0, 2, 3, 1] : [0, 2, 1, 3])) ? node!.inputs[0]! : undefined;
  if (split === undefined) return g.reshape(g.transpose(value, isTurned ? [0, 3, 1, 2] : [0, 2, 1, 3]), [0, 0, -1]);
  const whole = m.made(split, 'Reshape')?.inputs[0];
  const [dims, own] = [m.dims(whole), m.dims(split)];
  const isWhole = dims?.length === 3 && own?.length === 4 && dims[0] === own[0] && dims[1] === own[1];
  return isWhole ? whole! : g.reshape(split, [0, 0, -1]);
}

/** Lengths of the rows, int32 [batch]. */
function rowLengths(g: GraphBuilder): string {
  return g.cast(g.reduceSum(g.cast('attention_mask', 'int32'), [1], false), 'int32');
}

/** Lengths, then twice the places at which the padded rows begin and the last one ends, int32 [3·batch + 2]. */
function rowStarts(g: GraphBuilder, lengths: string): string {
  const [batch, length] = [0, 1].map((axis) =>
    g.squeeze(g.slice(g.shape('attention_mask'), [axis], [axis + 1], [0]), [0]),
  );
  const [zero, one] = [g.scalar(0, 'int64'), g.scalar(1, 'int64')];
  const starts = g.cast(g.mul(g.op('Range', [zero, g.add(batch!, one), one]), length!), 'int32');
  return g.concat([lengths, starts, starts], 0);
}

interface FusedModel {
  readonly model: Model;
  /** Nodes of attention that were fused, and those that were found. */
  readonly fused: number;
  readonly found: number;
}

/**
 * Fuses attention of a model whose masks are padding. Layers with other masks, such as windows, causal or relative ones, stay as they are.
 * @param model canonical (`prepare`), of float32 or float16.
 * @param maxLength tokens of a row, at most: masks are read on rows as long, up to 2,048.
 */
export async function fuseAttention(model: Model, maxLength: number, form: MaskForm = 'lengths'): Promise<FusedModel> {
  if (!model.graph.inputs.some(({ name }) => name === 'attention_mask')) return { model, fused: 0, found: 0 };
  const shapes: Shapes = await probeShapes(model);
  const m = new Matcher(model.graph, shapes);
  const found = model.graph.nodes
    .filter(({ op, domain }) => op === 'Softmax' && domain === '')
    .flatMap((softmax) => attentionAt(m, shapes, softmax) ?? []);
  if (found.length === 0) return { model, fused: 0, found: 0 };
  const length = Math.min(maxLength, LONGEST);
  const masks = await paddingMasks(model, new Set(found.map(({ mask }) => mask)), length);
  const chosen = new Map(found.filter(({ mask }) => masks.has(mask)).map((one) => [one.last, one]));
  if (chosen.size === 0) return { model, fused: 0, found: found.length };
  const g = GraphBuilder.rewriting(model.graph);
  const lengths = rowLengths(g);
  const rows = form === 'lengths' ? lengths : rowStarts(g, lengths);
  for (const node of model.graph.nodes) {
    const one = chosen.get(node);
    g.append(one ? nodeOf(g, m, one, rows) : node);
  }
  const graph = prune(topologicalSort(g.build()));
  const opsets = { ...model.opsets, [MICROSOFT]: model.opsets[MICROSOFT] ?? 1 };
  return { model: Object.freeze({ ...model, opsets, graph }), fused: chosen.size, found: found.length };
}

function nodeOf(g: GraphBuilder, m: Matcher, { query, key, value, heads, scale, last }: Attention, rows: string): Node {
  const inputs = [flat(g, m, query, false), flat(g, m, key, true), flat(g, m, value, false), '', rows];
  const attrs = { num_heads: { kind: 'int', value: heads }, scale: { kind: 'float', value: scale } } as const;
  return freezeNode({
    op: 'MultiHeadAttention',
    domain: MICROSOFT,
    name: last.name,
    inputs,
    outputs: last.outputs,
    attrs,
  });
}
