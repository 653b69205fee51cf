import { type GraphBuilder, MICROSOFT } from '../builder.ts';
import { type Attributes, attrNumbers, type Graph, type Node } from '../graph.ts';
import type { Shapes } from '../probe.ts';
import { type Replacements, replaceNodes } from './int8-products.ts';
import { Matcher } from './matcher.ts';

/*
 * Heads are split and merged by turning whole matrices. The engine turns a matrix four times as fast as it swaps positions and heads, where it
 * copies one head of one position at a time, of 32 bytes in 8 bits.
 */

/** Sizes of a value whose last axis holds the channels of all heads. */
interface Heads {
  readonly heads: number;
  readonly size: number;
}

/** The order of axes that Transposes give together, of the first one's input. */
const composed = (transposes: readonly Node[]): string =>
  String(
    transposes.reduce(
      (order, node) => attrNumbers(node, 'perm')?.map((axis) => order[axis]!) ?? order.toReversed(),
      [0, 1, 2, 3],
    ),
  );

/** [batch, positions, heads, size] → [batch, heads, positions, size]; it is its own inverse. */
const SWAPPED = '0,2,1,3';
/** [batch, positions, heads, size] → [batch, heads, size, positions]. */
const TURNED = '0,2,3,1';

/**
 * Returns how `moves` split [batch, positions, channels] into heads, and whether positions come last then; undefined if they do something
 * else.
 */
export function splitOf(
  m: Matcher,
  source: string,
  [reshape, ...transposes]: readonly Node[],
): (Heads & { readonly turned: boolean }) | undefined {
  const [from, to] = [m.dims(source), m.dims(reshape?.outputs[0])];
  if (reshape?.op !== 'Reshape' || from?.length !== 3 || to?.length !== 4) return undefined;
  if (transposes.some(({ op }) => op !== 'Transpose')) return undefined;
  const order = composed(transposes);
  const kept = from[0] === to[0] && from[1] === to[1] && from[2] === to[2]! * to[3]!;
  if (!kept || (order !== SWAPPED && order !== TURNED)) return undefined;
  return { heads: to[2]!, size: to[3]!, turned: order === TURNED };
}

/** Appends the split of [batch, positions, channels] into [batch, heads, size, positions]. */
export const appendTurned = (g: GraphBuilder, value: string, { heads, size }: Heads): string =>
  g.reshape(g.transpose(value, [0, 2, 1]), [0, heads, size, -1]);

/** Exchanges the last two axes of [batch, heads, _, _]. */
export const appendExchange = (g: GraphBuilder, value: string): string => g.transpose(value, [0, 1, 3, 2]);

/** The nodes that split the values of an attention, which nothing else reads. */
function valueSplit(m: Matcher, product: Node): (Heads & { readonly source: string }) | undefined {
  const [, values] = product.inputs as [string, string];
  const swap = m.made(values, 'Transpose');
  const reshape = m.made(swap?.inputs[0], 'Reshape');
  const source = reshape?.inputs[0];
  if (!swap || !reshape || source === undefined) return undefined;
  if (![swap, reshape].every(({ outputs: [o] }) => m.valueReaders(o!).length === 1)) return undefined;
  const split = splitOf(m, source, [reshape, swap]);
  return split && !split.turned && m.dims(source)![1]! > 1 ? { ...split, source } : undefined;
}

/** The node that quantizes the merged heads of an attention's output, and the heads. */
function quantizedMerge(m: Matcher, product: Node): (Heads & { readonly quantize: Node }) | undefined {
  const swap = m.onlyReader(product.outputs[0]!, 'Transpose');
  const [only, ...others] = swap ? m.valueReaders(swap.outputs[0]!) : [];
  const quantize = only?.op === 'Reshape' ? m.onlyReader(only.outputs[0]!, 'QuantizeLinear') : undefined;
  const [from, to] = [m.dims(product.outputs[0]), m.dims(only?.outputs[0])];
  if (!swap || !quantize || others.length > 0 || composed([swap]) !== SWAPPED) return undefined;
  if (from?.length !== 4 || to?.length !== 3 || from[2]! === 1) return undefined;
  const [batch, heads, positions, size] = from as [number, number, number, number];
  const merged = to[0] === batch && to[1] === positions && to[2] === heads * size;
  return merged && m.dims(quantize.inputs[1])?.length === 0 ? { heads, size, quantize } : undefined;
}

/**
 * Rewrites how the values of attentions are split into heads, and how outputs that are quantized next are merged. Scores are the same to the
 * bit.
 * @param shapes of the graph, by a probing batch.
 */
export function turnHeads(graph: Graph, shapes: Shapes): Graph {
  const m = new Matcher(graph, shapes);
  const at: Replacements = new Map();
  for (const product of graph.nodes.filter((n) => n.op === 'MatMul' && n.domain === '')) {
    const values = valueSplit(m, product);
    const [weights] = product.inputs as [string];
    if (values)
      at.set(product, (g) => {
        const turned = appendTurned(g, values.source, values);
        const attrs: Attributes = { transB: { kind: 'int', value: 1 } };
        g.append({ ...product, op: 'FusedMatMul', domain: MICROSOFT, inputs: [weights, turned], attrs });
      });
    const merge = quantizedMerge(m, product);
    if (!merge) continue;
    const { heads, size, quantize } = merge;
    at.set(quantize, (g) => {
      const bytes = g.op('QuantizeLinear', [product.outputs[0]!, ...quantize.inputs.slice(1)]);
      const merged = g.reshape(appendExchange(g, bytes), [0, heads * size, -1]);
      g.append({
        op: 'Transpose',
        domain: '',
        name: quantize.name,
        inputs: [merged],
        outputs: quantize.outputs,
        attrs: { perm: { kind: 'ints', value: [0, 2, 1] } },
      });
    });
  }
  return replaceNodes(graph, at);
}
