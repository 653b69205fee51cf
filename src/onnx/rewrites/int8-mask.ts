import { MASK_INPUT } from '../architectures/pooling.ts';
import type { GraphBuilder } from '../builder.ts';
import { freezeGraph, type Model, type Node } from '../graph.ts';
import { prune, upstream } from '../order.ts';
import { probeFeeds, type Shapes } from '../probe.ts';
import { runOnce } from '../runner.ts';
import { numbers, tensor } from '../tensor.ts';
import type { Matcher } from './matcher.ts';

/*
 * The padding mask as a few more channels of queries and keys: constants of queries meet −127 of padding keys, so the integer product gives
 * padding a score so low that its probability is 0, and no Add over all scores is needed.
 */

/** Returns the values that are 0 for text and very low for padding, [batch, 1, 1, keys], and follow from the attention mask alone. */
export async function paddingBiases(model: Model, shapes: Shapes): Promise<ReadonlySet<string>> {
  const { graph } = model;
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const fits = (name: string) => {
    const found = shapes.get(name);
    if (found?.dtype !== 'float32' || found.dims.length !== 4 || found.dims[1] !== 1 || found.dims[2] !== 1)
      return false;
    const read = [...upstream(graph, [name])].filter((value) => inputs.has(value));
    return read.length === 1 && read[0] === MASK_INPUT;
  };
  const candidates = [...new Set(graph.nodes.filter((n) => n.op === 'Add').flatMap((n) => n.inputs))].filter(fits);
  if (candidates.length === 0) return new Set();
  const part = prune(freezeGraph({ ...graph, outputs: candidates.map((name) => ({ name })) }));
  const feeds = probeFeeds(part.inputs);
  const mask = numbers(feeds[MASK_INPUT]!);
  const read = new Set(part.nodes.flatMap((n) => n.inputs));
  const results = await runOnce(
    { ...model, graph: freezeGraph({ ...part, inputs: part.inputs.filter(({ name }) => read.has(name)) }) },
    Object.fromEntries(Object.entries(feeds).filter(([name]) => read.has(name))),
  );
  const masks = (value: readonly number[]) =>
    value.length === mask.length && value.every((x, i) => (mask[i] === 1 ? x === 0 : x <= LOW));
  return new Set(candidates.filter((name) => masks(numbers(results[name]!))));
}

/** A bias from here on leaves padding no probability. */
const LOW = -1000;

/** Returns the Add of a padding bias that alone reads `scores`. */
export function maskingAdd(m: Matcher, scores: string, biases: ReadonlySet<string>): Node | undefined {
  const add = m.onlyReader(scores, 'Add');
  return add && biases.has(m.other(add, scores) ?? '') ? add : undefined;
}

/**
 * Numbers of channels that may be added, fewest first; the engine multiplies four at a time. Every second one is 0, so that a pair of
 * products stays below 2¹⁵ and no processor saturates.
 */
const COUNTS = [4, 8, 12, 16] as const;
/** Query constant 255 stands for 255 − 64; keys are −127. */
const PER_PAIR = (255 - 64) * 127;
/**
 * Padding stays this far below text even where it had the largest score of the calibration and text the lowest. A probability of e⁻¹⁷ of the
 * largest is the last that changes a bit of a float32 sum; the rest is left for scores beyond those of the calibration.
 */
const MARGIN = 40;
/**
 * Returns how many channels make padding vanish, undefined where that takes too many.
 * @param unit what an integer product of 1 is as a score.
 * @param largest magnitude of scores on the calibration rows.
 */
export const maskChannels = (unit: number, largest: number): number | undefined =>
  COUNTS.find((count) => (count / 2) * PER_PAIR * unit >= 2 * largest + MARGIN);

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
      const values = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? 255 : zero));
      const leading = g.slice(g.shape(queries), [0], [3], [0]);
      return g.expand(g.constant(tensor('uint8', [1, 1, 1, count], values)), g.concat([leading, g.ints([count])], 0));
    });
    return this.#g.concat([queries, channels], 3);
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
