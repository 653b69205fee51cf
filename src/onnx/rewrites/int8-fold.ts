import { attrNumbers, type Graph, type Model, type Node } from '../graph.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { float32View, sizeOf } from '../tensor.ts';
import { dropIdentities } from './inline.ts';
import {
  appendProduct,
  type IntegerProduct,
  productOf,
  type Replacements,
  replaceNodes,
  rescaled,
} from './int8-products.ts';
import { Matcher } from './matcher.ts';

/*
 * Moves the float operations around integer products into them. A product adds its bias while it writes its output; an Add of its own reads
 * and writes all states once more. Without it the engine also takes its faster GELU, not the one with a bias.
 */

/** Returns the vector that `value` holds, one number per column, if it is a constant that adds or scales columns. */
function columnVector(m: Matcher, value: string | undefined, columns: number): Float32Array | undefined {
  const found = m.graph.initializers.get(value ?? '');
  const fits = found?.dtype === 'float32' && found.dims.at(-1) === columns && sizeOf(found.dims) === columns;
  return fits ? float32View(found) : undefined;
}

/** Makes the constant that an Add adds to an integer product part of the product. Values keep their names. */
export function foldBiases(graph: Graph): Graph {
  const m = new Matcher(graph);
  const at: Replacements = new Map();
  for (const add of graph.nodes.filter((n) => n.op === 'Add' && n.domain === '')) {
    const value = add.inputs.find((i) => productOf(m, i) !== undefined);
    const product = productOf(m, value);
    if (value === undefined || !product || m.onlyReader(value, 'Add') !== add) continue;
    const bias = columnVector(m, m.other(add, value), product.scales.length);
    if (!bias) continue;
    const sum = { ...product, bias: product.bias.map((x, c) => x + bias[c]!) };
    at.set(add, (g) => appendProduct(g, sum, add.outputs[0]!));
  }
  return replaceNodes(graph, at);
}

/** Swaps heads and positions: [batch, positions, heads, size] ↔ [batch, heads, positions, size]. */
const isHeadSwap = (node: Node | undefined): node is Node =>
  node !== undefined && String(attrNumbers(node, 'perm')) === '0,2,1,3';

/** Whether a Reshape only splits the last axis of `from` into the last two of `to`, so that channels keep their order. */
const splitsLast = (from: readonly number[] | undefined, to: readonly number[] | undefined): boolean =>
  from !== undefined && to?.length === 4 && from.at(-1) === to[2]! * to[3]!;

/**
 * Returns the product that makes the values of an attention whose output, heads merged, is `mixed`. Channel c of `mixed` is then a mean of
 * channel c of the product over positions.
 */
function valuesBehind(m: Matcher, mixed: string): IntegerProduct | undefined {
  const merge = m.made(mixed, 'Reshape');
  const swap = m.made(merge?.inputs[0], 'Transpose');
  const product = isHeadSwap(swap) ? m.made(swap.inputs[0], 'MatMul') : undefined;
  const split = m.made(product?.inputs[1], 'Transpose');
  const heads = isHeadSwap(split) ? m.made(split.inputs[0], 'Reshape') : undefined;
  const values = heads?.inputs[0];
  if (!merge || !swap || !product || !split || !heads || values === undefined) return undefined;
  const alone = [swap, product, split, heads].every(({ outputs: [o] }) => m.valueReaders(o!).length === 1);
  const kept =
    splitsLast(m.dims(values), m.dims(heads.outputs[0])) && splitsLast(m.dims(mixed), m.dims(swap.outputs[0]));
  return alone && kept && m.valueReaders(values).length === 1 ? productOf(m, values) : undefined;
}

/** Moves the smoothing of an attention's output into the columns of the layer that makes its values. */
function foldValueSmoothing(graph: Graph, shapes: Shapes): Graph {
  const m = new Matcher(graph, shapes);
  const at: Replacements = new Map();
  for (const mul of graph.nodes.filter((n) => n.op === 'Mul' && n.domain === '')) {
    const [mixed, smoothing] = mul.inputs as [string, string];
    const quantize = m.onlyReader(mul.outputs[0]!, 'QuantizeLinear');
    const product = quantize && m.valueReaders(mixed).length === 1 ? valuesBehind(m, mixed) : undefined;
    const factors = product && columnVector(m, smoothing, product.scales.length);
    if (!quantize || !product || !factors) continue;
    at.set(product.node, (g) => appendProduct(g, rescaled(product, factors), product.node.outputs[0]!));
    at.set(quantize, (g) => g.append({ ...quantize, inputs: [mixed, ...quantize.inputs.slice(1)] }));
  }
  return replaceNodes(graph, at);
}

/**
 * Folds biases and the smoothing of attention outputs into the integer products of a model. Scores change by rounding only.
 * @returns the model, whose values keep their names and sizes, and these sizes in a probing batch.
 * @throws WinnowError `invalid_graph` if the engine cannot run the model on a tiny batch.
 */
export async function foldInt8(model: Model): Promise<{ readonly model: Model; readonly shapes: Shapes }> {
  const graph = foldBiases(dropIdentities(model.graph));
  const shapes = await probeShapes({ ...model, graph });
  return { model: { ...model, graph: foldValueSmoothing(graph, shapes) }, shapes };
}
