import { GraphBuilder } from '../../onnx/builder.ts';
import { type Graph, type Model, type Node, renameReads } from '../../onnx/graph.ts';
import { topologicalSort } from '../../onnx/order.ts';
import { PROBE_BATCH, PROBE_LENGTH, probeFeeds, probeShapes, type Shapes } from '../../onnx/probe.ts';
import type { Weight } from '../../onnx/weights.ts';
import type { DropoutRates } from './rates.ts';
import { type DropoutSite, findDropoutSites } from './sites.ts';

/**
 * Element type of a mask. `float32`: factors, 0 where a value is dropped and 1 / (1 − p) elsewhere; one multiplication in each pass, without
 * a conversion, which is fastest on a CPU. `uint8`: 1 where a value is kept; a quarter of the bytes to copy to a device.
 */
type MaskForm = 'float32' | 'uint8';

/** The mask of one dropout site. */
export interface MaskPart {
  /** Name of the site, such as `layer.0.attention`. */
  readonly name: string;
  /** Graph input for the mask. */
  readonly input: string;
  readonly form: MaskForm;
  /** Probability of dropping. */
  readonly rate: number;
  /** Returns the number of elements for a batch of `rows` rows of `length` tokens. */
  readonly count: (rows: number, length: number) => number;
  /** Returns the shape for such a batch; an axis of rows × length counts as two. */
  readonly dims: (rows: number, length: number) => readonly number[];
}

export interface WithDropout {
  readonly model: Model;
  readonly parts: readonly MaskPart[];
}

/** Returns 1 / (1 − p), which keeps the expected value; 0 where everything is dropped. */
export const keptScale = (rate: number): number => (rate < 1 ? 1 / (1 - rate) : 0);

/**
 * Inserts inverted dropout where `rates` are above 0: y = x · mask / (1 − p). Masks are inputs, so that seed and step alone decide them
 * (`fillDropoutMask`); evaluation runs the graph without this rewrite. The gradient is the same product.
 * @param model canonical (`prepare`), with its head; returned unchanged, without parts, where nothing is dropped.
 */
export async function insertDropout(
  model: Model,
  weights: readonly Weight[],
  rates: DropoutRates,
  output = 'logits',
  form: MaskForm = 'float32',
): Promise<WithDropout> {
  const shapes = await probeShapes(model);
  const sites = findDropoutSites(model.graph, output, shapes, weights).filter((s) => rates[s.kind] > 0);
  if (sites.length === 0) return { model, parts: [] };
  const parts = await maskParts(
    model,
    sites.map(({ name, value, kind }) => ({ name, value, rate: rates[kind] })),
    form,
    shapes,
  );
  return { model: { ...model, graph: insertAt(model.graph, sites, parts) }, parts };
}

interface Dropped {
  readonly name: string;
  readonly value: string;
  readonly rate: number;
}

async function maskParts(
  model: Model,
  dropped: readonly Dropped[],
  form: MaskForm,
  shapes: Shapes,
): Promise<readonly MaskPart[]> {
  const [rows, length] = [5, 11];
  const other = await probeShapes(model, probeFeeds(model.graph.inputs, rows, length));
  return dropped.map(({ name, value, rate }) => {
    const dims = sizes(value, shapes, other);
    const count = (r: number, l: number): number => dims(r, l).reduce((product, d) => product * d, 1);
    return { name, input: `dropout.${name}`, form, rate, count, dims };
  });
}

/**
 * Appends dropped copies of values, which nothing reads yet.
 * @returns model and masks, and the copy of each value by its name.
 */
export async function appendDropped(
  model: Model,
  values: readonly string[],
  rate: number,
  form: MaskForm,
): Promise<WithDropout & { readonly copies: ReadonlyMap<string, string> }> {
  if (rate === 0 || values.length === 0) return { model, parts: [], copies: new Map() };
  const named = values.map((value, i) => ({ name: `copy.${i}`, value, rate }));
  const parts = await maskParts(model, named, form, await probeShapes(model));
  const g = GraphBuilder.from(model.graph);
  const copies = new Map(named.map(({ value }, i) => [value, masked(g, value, parts[i]!)]));
  return { model: { ...model, graph: g.build() }, parts, copies };
}

/** Appends x · mask / (1 − p), with the mask as an input. */
function masked(g: GraphBuilder, value: string, { name, input, form, rate, count }: MaskPart): string {
  const flat = g.input(input, form, [`${input}.values`], [count(PROBE_BATCH, PROBE_LENGTH)]);
  const mask = g.reshape(flat, g.shape(value));
  const factors = form === 'uint8' ? g.mul(g.cast(mask, 'float32'), g.scalar(keptScale(rate))) : mask;
  return g.op('Mul', [value, factors], {}, { name: `dropout.${name}.product` });
}

/** Derives the mask's shape: each size is a constant or a multiple of rows, length or both. Batches of 3 × 7 and 5 × 11 tell which. */
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

function insertAt(graph: Graph, sites: readonly DropoutSite[], parts: readonly MaskPart[]): Graph {
  const g = GraphBuilder.rewriting(graph);
  const renames = new Map<Node, Map<string, string>>();
  for (const [i, site] of sites.entries()) {
    const dropped = masked(g, site.value, parts[i]!);
    for (const reader of site.readers) {
      const rename = renames.get(reader) ?? new Map<string, string>();
      renames.set(reader, rename.set(site.value, dropped));
    }
  }
  for (const node of graph.nodes) g.append(renames.has(node) ? renameReads(node, renames.get(node)!) : node);
  return topologicalSort(g.build());
}
