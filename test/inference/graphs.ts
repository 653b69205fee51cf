import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferenceRow, LoadSpec, Reduction } from '../../src/inference/inference-types.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { DataType } from '../../src/onnx/dtypes.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { type WriteOptions, writeModel } from '../../src/onnx/model-file.ts';
import { tensor } from '../../src/onnx/tensor.ts';

/*
 * Small graphs whose scores are known by hand, each for one behavior of a host. They read token ids as numbers.
 */

export interface GraphFolder {
  readonly path: string;
  /** Writes a graph and says how to load it. */
  write(name: string, g: GraphBuilder, options?: WriteOptions): Promise<LoadSpec>;
  writeModel(name: string, model: Model, options?: WriteOptions): Promise<LoadSpec>;
  remove(): Promise<void>;
}

export async function graphFolder(): Promise<GraphFolder> {
  const path = await mkdtemp(join(tmpdir(), 'winnow-graphs-'));
  const write = async (name: string, model: Model, options?: WriteOptions) => {
    const file = join(path, `${name}.onnx`);
    await writeModel(file, model, options);
    return specOf(name, file);
  };
  return {
    path,
    write: (name, g, options) => write(name, modelOf(g.build()), options),
    writeModel: write,
    remove: () => rm(path, { recursive: true, force: true }),
  };
}

export const specOf = (key: string, file: string, reduction: Reduction = { kind: 'single' }): LoadSpec => ({
  key,
  file,
  padId: 0,
  maxLength: 512,
  reduction,
});

export function row(ids: readonly number[], secondSegment = ids.length): InferenceRow {
  return { ids: Int32Array.from(ids), secondSegment };
}

/** Σ ids of a row as float32 `[N, 1]`; the named integer inputs beside `input_ids` are added in, each times its weight. */
function weighted(g: GraphBuilder, weights: Readonly<Record<string, number>>, type: DataType = 'int64'): string {
  const terms = Object.entries(weights).map(([name, weight]) => {
    const input = g.input(name, type, ['batch', 'sequence']);
    return g.mul(g.reduceSum(g.cast(input, 'float32'), [1]), g.scalar(weight));
  });
  return terms.reduce((sum, term) => g.add(sum, term));
}

/** Score = Σ ids + 10³ Σ mask + 10⁴ Σ types, so that each input can be read off. */
export function sumGraph(type: DataType = 'int64'): GraphBuilder {
  const g = new GraphBuilder('sum');
  const sum = weighted(g, { input_ids: 1, attention_mask: 1000, token_type_ids: 10_000 }, type);
  g.output(sum, 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids + 1000 Σ positions. */
export function positionGraph(): GraphBuilder {
  const g = new GraphBuilder('positions');
  g.output(weighted(g, { input_ids: 1, position_ids: 1000 }), 'float32', ['batch', 1], 'logits');
  return g;
}

export type Shape = 'flat' | 'column' | 'classes' | 'hidden' | 'half';

/** Σ ids in the shape asked for; `classes` is [Σ, 2Σ, 0]; `half` is float16 [N, 1]. */
export function shapedGraph(shape: Shape): GraphBuilder {
  const g = new GraphBuilder(shape);
  const sum = weighted(g, { input_ids: 1 });
  const shapes: Readonly<Record<Shape, () => void>> = {
    flat: () => g.output(g.squeeze(sum, [1]), 'float32', ['batch'], 'logits'),
    column: () => g.output(sum, 'float32', ['batch', 1], 'logits'),
    classes: () =>
      g.output(g.mul(sum, g.constant(tensor('float32', [1, 3], [1, 2, 0]))), 'float32', ['batch', 3], 'logits'),
    hidden: () => g.output(g.unsqueeze(sum, [2]), 'float32', ['batch', 1, 1], 'last_hidden_state'),
    half: () => g.output(g.cast(sum, 'float16'), 'float16', ['batch', 1], 'logits'),
  };
  shapes[shape]();
  return g;
}

/** log(Σ ids − 5): NaN for a row below 5. */
export function logarithmGraph(): GraphBuilder {
  const g = new GraphBuilder('logarithm');
  g.output(g.log(g.sub(weighted(g, { input_ids: 1 }), g.scalar(5))), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Looks ids up in a table of 100 rows, `table[i] = i / 2`, and sums: an id of 100 or more fails. */
export function tableGraph(): GraphBuilder {
  const g = new GraphBuilder('table');
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const table = g.initializer(
    'table',
    tensor(
      'float32',
      [100, 1],
      Array.from({ length: 100 }, (_, i) => i / 2),
    ),
  );
  g.output(g.reduceSum(g.gather(table, ids), [1], false), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids, but asks for (rows − most) · 2⁴⁵ floats on the way: memory no machine has, for a batch of more than `most` rows. */
export function greedyGraph(most: number): GraphBuilder {
  const g = new GraphBuilder('greedy');
  const sum = weighted(g, { input_ids: 1 });
  const rows = g.slice(g.shape('input_ids'), [0], [1], [0]);
  const excess = g.op('Max', [g.sub(rows, g.ints([most])), g.ints([0])]);
  const size = g.add(g.mul(excess, g.ints([2 ** 45])), g.ints([1]));
  const nothing = g.reduceSum(g.op('ConstantOfShape', [size]), [0]);
  g.output(g.add(sum, nothing), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids after as many turns of a loop as the largest id says, each turn a fraction of a microsecond or more. */
export function slowGraph(): GraphBuilder {
  const g = new GraphBuilder('slow');
  const sum = weighted(g, { input_ids: 1 });
  const turns = g.reshape(g.op('ReduceMax', ['input_ids', g.ints([0, 1])], { keepdims: 0 }), []);
  const body = new GraphBuilder('turn');
  body.input('turn', 'int64', []);
  const go = body.input('go', 'bool', []);
  const carried = body.input('carried', 'float32', [1]);
  body.output(go, 'bool', [], 'go_on');
  body.output(body.add(carried, body.scalar(0)), 'float32', [1], 'carry');
  const start = g.constant(tensor('float32', [1], [0]));
  const nothing = g.op('Loop', [turns, g.constant(tensor('bool', [], [1])), start], { body: body.build() });
  g.output(g.add(sum, nothing), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids, through a product with [width, width] weights: large enough to be seen in memory. */
export function heavyGraph(width: number): GraphBuilder {
  const g = new GraphBuilder('heavy');
  const sum = weighted(g, { input_ids: 1 });
  const weights = g.initializer('weights', tensor('float32', [width, width], new Float32Array(width * width).fill(0)));
  const wide = g.expand(sum, g.constant(tensor('int64', [2], [1, width])));
  g.output(g.add(sum, g.reduceSum(g.op('MatMul', [wide, weights]), [1])), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Asks for an input no encoder of text has. */
export function strangerGraph(): GraphBuilder {
  const g = new GraphBuilder('stranger');
  const pixels = g.input('pixel_values', 'float32', ['batch', 3]);
  g.output(g.reduceSum(pixels, [1]), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids, through `floats` numbers a row: memory the engine keeps after the batch. */
export function bulkyGraph(floats: number): GraphBuilder {
  const g = new GraphBuilder('bulky');
  const wide = g.expand(weighted(g, { input_ids: 1 }), [1, floats]);
  g.output(g.reduceMax(g.add(wide, g.scalar(0.5)), [1]), 'float32', ['batch', 1], 'logits');
  return g;
}

/** Σ ids, with `products` products of constant [2048, 2048] matrices that the engine works out while it loads. */
export function longLoadGraph(products: number): GraphBuilder {
  const g = new GraphBuilder('long-load');
  const ones = g.op('ConstantOfShape', [g.ints([2048, 2048])]);
  let chain = ones;
  for (let i = 0; i < products; i++) chain = g.op('MatMul', [chain, ones]);
  const nothing = g.reshape(g.reduceSum(chain), [1, 1]);
  g.output(g.add(weighted(g, { input_ids: 1 }), nothing), 'float32', ['batch', 1], 'logits');
  return g;
}
