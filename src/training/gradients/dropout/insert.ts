import { GraphBuilder, MICROSOFT } from '../../../onnx/builder.ts';
import { freezeGraph, freezeNode, type Graph, type Model, type Node, renameReads } from '../../../onnx/graph.ts';
import { topologicalSort } from '../../../onnx/order.ts';
import { PROBE_BATCH, PROBE_LENGTH, probeFeeds, probeShapes, type Shapes } from '../../../onnx/probe.ts';
import type { Weight } from '../weights.ts';
import type { DropoutRates } from './rates.ts';
import { type DropoutSite, findDropoutSites } from './sites.ts';

/** Name of the graph input that takes the mask: uint8, one byte a value, 1 = kept. */
export const DROPOUT_INPUT = 'dropout_mask';

/** One stretch of the mask. */
export interface MaskPart {
  readonly name: string;
  /** Probability of dropping. */
  readonly rate: number;
  /** Elements in a batch of `rows` rows of `length` tokens. */
  readonly count: (rows: number, length: number) => number;
  /** Its shape, row-major; an axis of rows × length counts as two. */
  readonly dims: (rows: number, length: number) => readonly number[];
}

export interface WithDropout {
  readonly model: Model;
  readonly parts: readonly MaskPart[];
}

/**
 * Inverted dropout at the places `rates` ask for: y = x · mask / (1 − p). The mask is an input, so that a seed and a step number alone
 * decide it (`fillDropoutMask`), and evaluation simply runs the graph without this rewrite. The gradient is the same product.
 * Places whose rate is 0 are left alone; without any the model is returned as it is, with no parts.
 * @param model canonical, with its head (see `prepare`)
 */
export async function insertDropout(
  model: Model,
  weights: readonly Weight[],
  rates: DropoutRates,
  output = 'logits',
): Promise<WithDropout> {
  const shapes = await probeShapes(model);
  const sites = findDropoutSites(model.graph, output, shapes, weights).filter((s) => rates[s.kind] > 0);
  if (sites.length === 0) return { model, parts: [] };
  const [rows, length] = [5, 11];
  const other = await probeShapes(model, probeFeeds(model.graph.inputs, rows, length));
  const parts = sites.map((s) => {
    const dims = sizes(s.value, shapes, other);
    const count = (r: number, l: number): number => dims(r, l).reduce((product, d) => product * d, 1);
    return { name: s.name, rate: rates[s.kind], count, dims };
  });
  const probed = parts.reduce((sum, p) => sum + p.count(PROBE_BATCH, PROBE_LENGTH), 0);
  return { model: { ...model, graph: insertAt(model.graph, sites, rates, probed) }, parts };
}

/** Each size is a constant, or a multiple of the rows, the length or both: told apart by two batches, 3 × 7 and 5 × 11. */
function sizes(value: string, first: Shapes, second: Shapes): MaskPart['dims'] {
  const [a, b] = [first.get(value)!.dims, second.get(value)!.dims];
  const axes = a.map((size, axis) => {
    const to = b[axis]!;
    if (to === size) return () => [size];
    if (to * 3 === size * 5) return (rows: number) => [(size / 3) * rows];
    if (to * 7 === size * 11) return (_: number, length: number) => [(size / 7) * length];
    return (rows: number, length: number) => [rows, (size / 21) * length];
  });
  return (rows, length) => axes.flatMap((axis) => axis(rows, length));
}

function insertAt(graph: Graph, sites: readonly DropoutSite[], rates: DropoutRates, probed: number): Graph {
  const g = GraphBuilder.from(freezeGraph({ ...graph, nodes: [] }));
  for (const node of graph.nodes) for (const name of [node.name, ...node.outputs]) g.reserve(name);
  const mask = g.input(DROPOUT_INPUT, 'uint8', ['dropout'], [probed]);
  const renames = new Map<Node, Map<string, string>>();
  let offset = g.ints([0]);
  for (const site of sites) {
    const shape = g.shape(site.value);
    const end = g.add(offset, g.reshape(g.op('Size', [site.value]), [1]));
    // One byte a value is what the backward pass keeps.
    const kept = g.reshape(g.cast(g.op('Slice', [mask, offset, end]), 'bool'), shape);
    const scaled = scalesProduct(site) ? site.value : g.mul(site.value, g.scalar(keptScale(site, rates)));
    const dropped = g.op('Where', [kept, scaled, g.scalar(0)], {}, { name: `dropout.${site.name}` });
    for (const reader of site.readers) {
      const rename = renames.get(reader) ?? new Map<string, string>();
      renames.set(reader, rename.set(site.value, dropped));
    }
    offset = end;
  }
  const products = new Map(sites.filter(scalesProduct).map((s) => [s.readers[0]!, keptScale(s, rates)]));
  for (const node of graph.nodes) {
    const moved = renames.has(node) ? renameReads(node, renames.get(node)!) : node;
    g.append(products.has(node) ? scaledProduct(moved, products.get(node)!) : moved);
  }
  return topologicalSort(g.build());
}

const keptScale = (site: DropoutSite, rates: DropoutRates): number => 1 / (1 - rates[site.kind]);

/** Attention probabilities are the largest tensor of all: their 1 / (1 − p) goes into the product that reads them. */
const scalesProduct = (site: DropoutSite): boolean => site.kind === 'attention' && site.readers[0]!.op === 'MatMul';

const scaledProduct = (node: Node, alpha: number): Node =>
  freezeNode({ ...node, op: 'FusedMatMul', domain: MICROSOFT, attrs: { alpha: { kind: 'float', value: alpha } } });
