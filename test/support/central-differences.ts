import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { DataType } from '../../src/onnx/dtypes.ts';
import type { Graph } from '../../src/onnx/graph.ts';
import { probeShapes, type Shapes } from '../../src/onnx/probe.ts';
import { toFloat64, widenTensor } from '../../src/onnx/rewrites/double.ts';
import { openRunner, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, sizeOf, type Tensor, tensor, tensorOf, view } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

/** Float32 numbers, so that double precision starts from the same ones. */
export function randomTensor(dims: readonly number[], seed: number, low = -1.5, high = 1.5): Tensor {
  const random = createRandom(seed);
  return float32(
    dims,
    Float32Array.from({ length: sizeOf(dims) }, () => low + (high - low) * random.next()),
  );
}

export const ints = (dims: readonly number[], values: readonly number[], dtype: DataType = 'int64'): Tensor =>
  tensor(dtype, dims, values);

/** Appends the forward graph on the named inputs; returns the output to differentiate. */
export type Forward = (g: GraphBuilder) => string;

export interface RuleCheck {
  /** Largest |analytic − central difference| in double precision, over the largest derivative (at least 1). */
  readonly double: number;
  /** The same for float32, optimized, two threads. */
  readonly single: number;
  /** Gradients in float32, by input. */
  readonly gradients: ReadonlyMap<string, readonly number[]>;
}

const LOSS = 'loss';
const OUTPUT = 'output';
const STEP = 1e-5;

/** y ↦ Σ c·y with fixed random c, so that every element of the output has another weight. */
function scalarOf(g: GraphBuilder, y: string, dims: readonly number[]): void {
  const c = g.constant(randomTensor(dims, 99, 0.5, 2), 'pull');
  g.output(g.reduceSum(g.mul(y, c), undefined, false), 'float32', [], LOSS);
}

/**
 * Builds `forward` on `inputs`, differentiates it with respect to `wrt` and compares with (L(x + h) − L(x − h)) / 2h for every element of
 * every one of them, in double precision, and again in float32 as in training.
 */
export async function checkRule(
  inputs: Readonly<Record<string, Tensor>>,
  forward: Forward,
  wrt: readonly string[],
): Promise<RuleCheck> {
  const graph = await forwardGraph(inputs, forward);
  const shapes = await probeShapes(modelOf(graph), inputs);
  const result = differentiate(graph, { of: LOSS, wrt, shapes });
  const g = GraphBuilder.from(result.graph, { outputs: false });
  for (const name of wrt) g.output(result.gradients.get(name)!);
  const backward = g.build();
  const expected = await differences(graph, shapes, inputs, wrt);
  const wideInputs = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, widenTensor(t)]));
  const allShapes = await probeShapes(modelOf(backward), inputs);
  const inDouble = await runOnce(toFloat64(modelOf(backward), allShapes), wideInputs);
  const inSingle = await runOnce(modelOf(backward), inputs, { level: 'all', threads: 2 });
  const worst = (results: Readonly<Record<string, Tensor>>): number =>
    Math.max(...wrt.map((name) => worstOf(numbers(results[result.gradients.get(name)!]!), expected.get(name)!)));
  return {
    double: worst(inDouble),
    single: worst(inSingle),
    gradients: new Map(wrt.map((name) => [name, numbers(inSingle[result.gradients.get(name)!]!)])),
  };
}

async function forwardGraph(inputs: Readonly<Record<string, Tensor>>, forward: Forward): Promise<Graph> {
  const build = (finish: (g: GraphBuilder, y: string) => void): Graph => {
    const g = new GraphBuilder('rule');
    for (const [name, t] of Object.entries(inputs)) g.input(name, t.dtype, t.dims);
    finish(g, forward(g));
    return g.build();
  };
  const bare = build((g, y) => g.output(y, undefined, undefined, OUTPUT));
  const y = (await runOnce(modelOf(bare), inputs))[OUTPUT]!;
  return build((g, name) => scalarOf(g, name, y.dims));
}

async function differences(
  graph: Graph,
  shapes: Shapes,
  inputs: Readonly<Record<string, Tensor>>,
  wrt: readonly string[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const wide = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, widenTensor(t)]));
  const runner = await openRunner(toFloat64(modelOf(graph), shapes));
  const lossAt = async (name: string, i: number, move: number): Promise<number> => {
    const data = Float64Array.from(view(wide[name]!) as Float64Array);
    data[i]! += move;
    const moved = { ...wide, [name]: tensorOf('float64', wide[name]!.dims, data) };
    return numbers((await runner.run(moved))[LOSS]!)[0]!;
  };
  const found = new Map<string, number[]>();
  for (const name of wrt) {
    const slopes: number[] = [];
    for (let i = 0; i < sizeOf(wide[name]!.dims); i++)
      slopes.push(((await lossAt(name, i, STEP)) - (await lossAt(name, i, -STEP))) / (2 * STEP));
    found.set(name, slopes);
  }
  await runner.close();
  return found;
}

function worstOf(got: readonly number[], expected: readonly number[]): number {
  const scale = Math.max(1, ...expected.map(Math.abs));
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(
    ...got.map((x, i) => (Number.isNaN(x) ? Number.POSITIVE_INFINITY : Math.abs(x - expected[i]!) / scale)),
  );
}
