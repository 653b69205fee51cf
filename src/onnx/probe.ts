import type { DataType } from './dtypes.ts';
import { freezeGraph, type Graph, type Model, type ValueInfo } from './graph.ts';
import { type Feeds, type Results, type RunOptions, runOnce } from './runner.ts';
import { numbers, sizeOf, type Tensor, tensor } from './tensor.ts';

/** What the probing batch shows of a value. */
export interface Probed {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  /** Values of small integer tensors (shapes, axes, indices); floats are not kept. */
  readonly value?: readonly number[];
}

export type Shapes = ReadonlyMap<string, Probed>;

/** Sizes of the probing batch: different from each other and from the sizes of encoders, so that equal sizes mean the same axis. */
export const PROBE_BATCH = 3;
export const PROBE_LENGTH = 7;

/**
 * Makes a tiny batch for the inputs of an encoder: token ids from 1 in every row, a mask of ones with two zeros at the end of the last row,
 * token types 0 (some tables hold one type only). A symbolic first dim becomes `batch`, a later one `length`; other inputs get zeros.
 */
export function probeFeeds(inputs: readonly ValueInfo[], batch = PROBE_BATCH, length = PROBE_LENGTH): Feeds {
  const feeds: Record<string, Tensor> = {};
  for (const { name, dtype = 'float32', dims, probe } of inputs) {
    const sizes =
      probe ?? (dims ?? []).map((d, axis) => (typeof d === 'number' && d > 0 ? d : axis === 0 ? batch : length));
    feeds[name] = tensor(dtype, sizes, fill(name, sizes, length));
  }
  return feeds;
}

function fill(name: string, sizes: readonly number[], length: number): number[] {
  const count = sizeOf(sizes);
  const column = (i: number): number => i % length;
  const lastRow = (i: number): boolean => i >= count - length;
  if (/mask/i.test(name))
    return Array.from({ length: count }, (_, i) => +!(count > length && lastRow(i) && column(i) >= length - 2));
  if (/position/i.test(name)) return Array.from({ length: count }, (_, i) => column(i));
  return /id|token|word/i.test(name) && !/type|segment/i.test(name)
    ? Array.from({ length: count }, (_, i) => column(i) + 1)
    : new Array<number>(count).fill(0);
}

/** Most elements of an integer tensor whose values are kept. */
const KEEP = 4096;

/**
 * Finds type and dims of every value of the graph by running it once with every value as an output. Values inside subgraphs are not
 * reached.
 * @throws WinnowError `invalid_graph` if the engine refuses the graph or the feeds.
 */
export async function probeShapes(
  model: Model,
  feeds: Feeds = probeFeeds(model.graph.inputs),
  options: RunOptions = {},
): Promise<Shapes> {
  return describe(model, feeds, await runOnce(withEveryOutput(model), feeds, options));
}

/** Returns the model with every value as an output. */
export const withEveryOutput = (model: Model): Model => ({ ...model, graph: everyOutput(model.graph) });

/** Returns type and dims of all values. @param results those that running the model with every value as an output gave. */
export function describe(model: Model, feeds: Feeds, results: Results): Shapes {
  const shapes = new Map<string, Probed>();
  for (const source of [model.graph.initializers, new Map(Object.entries(feeds)), new Map(Object.entries(results))])
    for (const [name, value] of source) shapes.set(name, describeTensor(value));
  return shapes;
}

function everyOutput(graph: Graph): Graph {
  const listed = new Set(graph.outputs.map((o) => o.name));
  const more: ValueInfo[] = [];
  for (const node of graph.nodes)
    for (const name of node.outputs)
      if (name !== '' && !listed.has(name)) {
        listed.add(name);
        more.push({ name });
      }
  return freezeGraph({ ...graph, outputs: [...graph.outputs, ...more] });
}

function describeTensor(t: Tensor): Probed {
  const { dtype, dims } = t;
  const whole = dtype === 'int64' || dtype === 'int32' || dtype === 'bool';
  return whole && sizeOf(dims) <= KEEP ? { dtype, dims, value: numbers(t) } : { dtype, dims };
}
