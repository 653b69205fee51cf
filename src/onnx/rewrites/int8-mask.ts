import { MASK_INPUT } from '../architectures/pooling.ts';
import type { GraphBuilder } from '../builder.ts';
import { freezeGraph, type Graph, type Model, type Node, reads } from '../graph.ts';
import { prune } from '../order.ts';
import { PROBE_LENGTH, probeFeeds, type Shapes } from '../probe.ts';
import { type Results, runOnce } from '../runner.ts';
import { float32View, numbers, sizeOf, type Tensor, tensor } from '../tensor.ts';
import type { Matcher } from './matcher.ts';

/*
 * The padding mask as a few more channels of queries and keys: constants of queries meet −127 of padding keys, so the integer product gives
 * padding a score so low that its probability is 0, and no Add over all scores is needed.
 */

/**
 * Returns the values that are 0 for text and very low for padding, [batch, 1, 1 or queries, keys], and follow from the attention mask alone.
 * Whether they are the same for every query is seen on long rows, since a window of attention shows there only.
 */
export async function paddingBiases(model: Model, shapes: Shapes): Promise<ReadonlySet<string>> {
  const { graph } = model;
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const fits = (name: string) => {
    const found = shapes.get(name);
    if (found?.dtype !== 'float32' || found.dims.length !== 4 || found.dims[1] !== 1) return false;
    if (found.dims[2] !== 1 && found.dims[2] !== found.dims[3]) return false;
    const read = [...numbersBehind(graph, name)].filter((value) => inputs.has(value));
    return read.length === 1 && read[0] === MASK_INPUT;
  };
  const candidates = [...new Set(graph.nodes.filter((n) => n.op === 'Add').flatMap((n) => n.inputs))].filter(fits);
  if (candidates.length === 0) return new Set();
  const part = prune(freezeGraph({ ...graph, outputs: candidates.map((name) => ({ name })) }));
  const read = new Set(part.nodes.flatMap((n) => n.inputs));
  const needed = part.inputs.filter(({ name }) => read.has(name));
  const { mask, results } = await runLong({ ...model, graph: freezeGraph({ ...part, inputs: needed }) });
  const masks = (value: Tensor) => {
    const keys = value.dims.at(-1)!;
    const queries = value.dims[2]!;
    const isText = (i: number) => mask[Math.floor(i / (queries * keys)) * keys + (i % keys)] === 1;
    return float32View(value).every((x, i) => (isText(i) ? x === 0 : x <= LOW));
  };
  return new Set(candidates.filter((name) => masks(results[name]!)));
}

/** Returns the values whose numbers, not their shapes alone, `target` depends on. */
function numbersBehind(graph: Graph, target: string): ReadonlySet<string> {
  const found = new Set([target]);
  for (const node of graph.nodes.toReversed())
    if (node.op !== 'Shape' && node.outputs.some((o) => found.has(o))) for (const name of reads(node)) found.add(name);
  return found;
}

/** Lengths of rows, the longest first: windows of attention are shorter than the first, models may have fewer positions. */
const LENGTHS = [2048, 512, 128, PROBE_LENGTH] as const;

/** Runs the model on two rows, the second with padding, of the largest length that it takes. */
async function runLong(
  model: Model,
  [length, ...shorter]: readonly number[] = LENGTHS,
): Promise<{ readonly mask: readonly number[]; readonly results: Results }> {
  const feeds = probeFeeds(model.graph.inputs, 2, length);
  try {
    return { mask: numbers(feeds[MASK_INPUT]!), results: await runOnce(model, feeds) };
  } catch (error) {
    if (shorter.length === 0) throw error;
    return runLong(model, shorter);
  }
}

/** A bias from here on leaves padding no probability. */
const LOW = -1000;

/** Returns the Add of a padding bias that alone reads `scores`, if it is the last thing that is added to them. */
export function maskingAdd(m: Matcher, scores: string, biases: ReadonlySet<string>): Node | undefined {
  const add = m.onlyReader(scores, 'Add');
  const isLast = add && m.onlyReader(add.outputs[0]!, 'Softmax') !== undefined;
  return isLast && biases.has(m.other(add, scores) ?? '') ? add : undefined;
}

/**
 * Numbers of channels that may be added, fewest first; the engine multiplies four at a time. Every second one is 0, so that a pair of
 * products stays below 2¹⁵ and no processor saturates.
 */
const COUNTS = [4, 8, 12, 16] as const;
/** Query constant 255 stands for 255 − 64; keys are −127. */
const PER_PAIR = (255 - 64) * 127;
/** A probability of e⁻¹⁷ of the largest is the last that changes a bit of a float32 sum. */
const VANISHING = 17;
/** How much further than in the calibration scores may lie apart. */
const HEADROOM = 1.5;
/**
 * Returns how many channels make padding vanish, undefined where that takes too many.
 * @param unit what an integer product of 1 is as a score.
 * @param span how far the largest score of the calibration is above the largest of the query that has the lowest.
 */
export const maskChannels = (unit: number, span: number): number | undefined =>
  COUNTS.find((count) => (count / 2) * PER_PAIR * unit >= HEADROOM * span + VANISHING);

const queryChannels = (g: GraphBuilder, dims: readonly number[], zero: number): string =>
  g.constant(
    tensor(
      'uint8',
      dims,
      Array.from({ length: sizeOf(dims) }, (_, i) => (i % 2 === 0 ? 255 : zero)),
    ),
  );

/** Writes the channels. Those of one shape are written once for all layers. */
export class MaskChannels {
  readonly #g: GraphBuilder;
  readonly #written = new Map<string, string>();

  constructor(g: GraphBuilder) {
    this.#g = g;
  }

  /** Appends channels to queries [batch, heads, queries, size]. @param shape what tells queries of this shape from others. */
  query(queries: string, count: number, zero: number, shape: string): string {
    const channels = this.#once(`query ${count} ${shape}`, (g) => {
      const leading = g.slice(g.shape(queries), [0], [3], [0]);
      return g.expand(queryChannels(g, [1, 1, 1, count], zero), g.concat([leading, g.ints([count])], 0));
    });
    return this.#g.concat([queries, channels], 3);
  }

  /** Appends channels to queries [batch, heads, size, queries]. */
  turnedQuery(queries: string, count: number, zero: number, shape: string): string {
    const channels = this.#once(`turned query ${count} ${shape}`, (g) => {
      const sizes = g.shape(queries);
      const [leading, last] = [g.slice(sizes, [0], [2], [0]), g.slice(sizes, [3], [4], [0])];
      return g.expand(queryChannels(g, [1, 1, count, 1], zero), g.concat([leading, g.ints([count]), last], 0));
    });
    return this.#g.concat([queries, channels], 2);
  }

  /** Appends channels to keys [batch, heads, size, keys]. */
  key(keys: string, count: number, heads: number): string {
    const channels = this.#once(`key ${count} ${heads}`, (g) => {
      const values = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? 127 : 0));
      const one = g.constant(tensor('int64', [], [1]));
      const padding = g.unsqueeze(g.sub(g.cast(MASK_INPUT, 'int64'), one), [1, 2]);
      const low = g.cast(g.mul(padding, g.constant(tensor('int64', [1, 1, count, 1], values))), 'int8');
      return g.expand(low, g.constant(tensor('int64', [4], [1, heads, 1, 1])));
    });
    return this.#g.concat([keys, channels], 2);
  }

  #once(key: string, write: (g: GraphBuilder) => string): string {
    const known = this.#written.get(key) ?? write(this.#g);
    this.#written.set(key, known);
    return known;
  }
}
