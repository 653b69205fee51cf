import { GraphBuilder } from '../onnx/builder.ts';
import { consumers, type Graph, type Model, nodeLabel } from '../onnx/graph.ts';
import { probeFeeds, probeShapes, type Shapes } from '../onnx/probe.ts';
import { toFloat64, widenTensor } from '../onnx/rewrites/double.ts';
import { type Feeds, openRunner, type Runner, runOnce } from '../onnx/runner.ts';
import { float32, float32View, sizeOf, type Tensor, tensorOf, view } from '../onnx/tensor.ts';
import { type Weight, weightsToInputs } from '../onnx/weights.ts';
import { createRandom, type Random } from '../util/random.ts';
import { differentiate } from './differentiate.ts';

/** Appends a loss to the graph: from the encoder's `logits` to a scalar, whose name is returned. */
export type LossBuilder = (g: GraphBuilder, logits: string) => string;

interface CheckOptions {
  /** Loss to differentiate; a random combination of the logits by default. */
  readonly loss?: LossBuilder;
  /** Size of the batch: 4 rows of 9 tokens by default. Larger ones cost time and precision. */
  readonly rows?: number;
  readonly length?: number;
  readonly seed?: number;
  /** A weight fails if its error exceeds `relative` · its gradient's norm + `absolute` · the norm of all gradients. Default 1e-3, 1e-5. */
  readonly relative?: number;
  readonly absolute?: number;
  /** Random directions per weight, in addition to that of its gradient. Default 2. */
  readonly directions?: number;
  readonly onWeight?: (done: number, total: number) => void;
}

export interface WeightCheck {
  readonly weight: string;
  readonly tensor: string;
  readonly dims: readonly number[];
  /** The node that reads the weight first. */
  readonly node: string;
  /** L2 norm of the gradient. */
  readonly norm: number;
  /** Estimated L2 distance between the gradient and the derivative. */
  readonly error: number;
  /** `error` divided by the allowed error: above 1 fails. */
  readonly ratio: number;
}

export interface CheckReport {
  /** Worst first. */
  readonly weights: readonly WeightCheck[];
  /** Weights the loss does not depend on. */
  readonly unreached: readonly string[];
  readonly globalNorm: number;
  readonly passed: boolean;
}

/**
 * Compares the gradient of every weight, computed in float32 as in training, with central differences of the same model in double precision:
 * along the gradient's own direction, which checks its length, and along random ones. For a random unit vector d of n components the expected
 * square of ⟨error, d⟩ is |error|²/n, which gives an estimate of the error.
 * @param model canonical (`prepare`), with output `logits`.
 * @throws WinnowError `unsupported_op` if a node has no rule.
 */
export async function checkGradients(
  model: Model,
  weights: readonly Weight[],
  options: CheckOptions = {},
): Promise<CheckReport> {
  const random = createRandom(options.seed ?? 1);
  const tensors = weights.map((w) => w.tensor);
  const values = new Map(tensors.map((t) => [t, model.graph.initializers.get(t)!]));
  const feeds = checkFeeds(model, options, random);
  const graph = withLoss(model.graph, options.loss ?? randomCombination(random));
  const shapes = await probeShapes({ ...model, graph }, feeds);
  const gradients = await analytic({ ...model, graph }, shapes, tensors, feeds);
  const globalNorm = Math.hypot(...[...gradients.values()].map((g) => l2(float32View(g))));
  const wide = toFloat64({ ...model, graph: weightsToInputs(graph, tensors) }, shapes);
  const runner = await openRunner(wide, { level: 'basic', threads: 0 });
  const base = widened([...Object.entries(feeds), ...values]);
  const read = consumers(graph);
  const checkOne = async ({ tensor, name, dims }: Weight, gradient: Float32Array): Promise<WeightCheck> => {
    const norm = l2(gradient);
    const error = await errorOf({ runner, base, tensor, gradient, norm, random, directions: options.directions ?? 2 });
    const allowed = (options.relative ?? 1e-3) * norm + (options.absolute ?? 1e-5) * globalNorm;
    const first = read.get(tensor)?.[0];
    const node = first ? nodeLabel(first) : '';
    return { weight: name, tensor, dims, node, norm, error, ratio: error / allowed };
  };
  const checked: WeightCheck[] = [];
  try {
    for (const [i, weight] of weights.entries()) {
      options.onWeight?.(i, weights.length);
      const gradient = gradients.get(weight.tensor);
      if (gradient) checked.push(await checkOne(weight, float32View(gradient)));
    }
  } finally {
    await runner.close();
  }
  const ordered = checked.toSorted((a, b) => b.ratio - a.ratio);
  const unreached = weights.filter((w) => !gradients.has(w.tensor)).map((w) => w.name);
  return { weights: ordered, unreached, globalNorm, passed: ordered.every((w) => w.ratio <= 1) };
}

/** One batch with its loss and the gradients of the weights. */
export interface GradientCase {
  readonly feeds: Feeds;
  readonly loss: number;
  /** By initializer; weights the loss does not depend on are absent. */
  readonly gradients: ReadonlyMap<string, Tensor>;
}

/**
 * Computes loss and gradients of a batch in float32, as in training, for a comparison with another program.
 * @param model canonical (`prepare`), with output `logits`.
 */
export async function gradientCase(
  model: Model,
  tensors: readonly string[],
  options: CheckOptions & { readonly loss: LossBuilder },
): Promise<GradientCase> {
  const feeds = checkFeeds(model, options, createRandom(options.seed ?? 1));
  const graph = withLoss(model.graph, options.loss);
  const shapes = await probeShapes({ ...model, graph }, feeds);
  const gradients = await analytic({ ...model, graph }, shapes, [...tensors], feeds);
  const { [LOSS]: loss } = await runOnce({ ...model, graph }, feeds);
  return { feeds, loss: float32View(loss!)[0]!, gradients };
}

const widened = (tensors: readonly (readonly [string, Tensor])[]): Feeds =>
  Object.fromEntries(tensors.map(([name, t]) => [name, widenTensor(t)]));

/** Most token ids used in the batch. */
const MOST_IDS = 90;

/** Makes a batch of random token ids from the start of the vocabulary, with rows of different length. */
function checkFeeds(model: Model, { rows = 4, length = 9 }: CheckOptions, random: Random): Feeds {
  const feeds: Record<string, Tensor> = { ...probeFeeds(model.graph.inputs, rows, length) };
  const ids = Object.keys(feeds).find((name) => /input_ids|^input$/.test(name));
  if (ids !== undefined) {
    const like = feeds[ids]!;
    const tables = model.graph.nodes.filter((n) => n.op === 'Gather' && n.inputs[1] === ids);
    const rows = tables.map((n) => model.graph.initializers.get(n.inputs[0]!)?.dims[0] ?? MOST_IDS);
    const words = Math.min(MOST_IDS, ...rows) - 1;
    const data = BigInt64Array.from({ length: sizeOf(like.dims) }, () => BigInt(1 + random.below(words)));
    feeds[ids] = tensorOf('int64', like.dims, data);
  }
  return feeds;
}

const LOSS = 'check.loss';

function withLoss(graph: Graph, build: LossBuilder): Graph {
  const g = GraphBuilder.from(graph, { outputs: false });
  g.output(build(g, graph.outputs[0]!.name), 'float32', [], LOSS);
  return g.build();
}

/** Σ cᵢ·logitᵢ with fixed random c: rows of equal weight could cancel each other's errors. */
const randomCombination =
  (random: Random): LossBuilder =>
  (g, logits) => {
    const numbers = Array.from({ length: 64 }, () => random.normal());
    const pattern = g.constant(float32([64], numbers), 'check.pattern');
    const flat = g.reshape(logits, [-1]);
    const taken = g.op('Slice', [pattern, g.ints([0]), g.shape(flat)]);
    return g.reduceSum(g.mul(flat, taken), [0], false);
  };

async function analytic(
  model: Model,
  shapes: Shapes,
  tensors: readonly string[],
  feeds: Feeds,
): Promise<ReadonlyMap<string, Tensor>> {
  const { graph, gradients } = differentiate(model.graph, { of: LOSS, wrt: tensors, shapes });
  const g = GraphBuilder.from(graph, { outputs: false });
  for (const value of gradients.values()) g.output(value);
  const runner = await openRunner({ ...model, graph: g.build() }, { level: 'all', threads: 0 });
  try {
    const results = await runner.run(feeds);
    return new Map([...gradients].map(([tensor, value]) => [tensor, results[value]!]));
  } finally {
    await runner.close();
  }
}

interface Probe {
  readonly runner: Runner;
  readonly base: Feeds;
  readonly tensor: string;
  readonly gradient: Float32Array;
  readonly norm: number;
  readonly random: Random;
  readonly directions: number;
}

async function errorOf(p: Probe): Promise<number> {
  const n = p.gradient.length;
  let along = 0;
  if (p.norm > 0)
    along = Math.abs(
      (await slope(
        p,
        Float64Array.from(p.gradient, (x) => x / p.norm),
      )) - p.norm,
    );
  let squares = 0;
  for (let k = 0; k < p.directions; k++) {
    const direction = unit(Float64Array.from({ length: n }, () => p.random.normal()));
    const expected = direction.reduce((sum, d, i) => sum + d * p.gradient[i]!, 0);
    squares += ((await slope(p, direction)) - expected) ** 2;
  }
  const estimated = p.directions > 0 ? Math.sqrt((n * squares) / p.directions) : 0;
  return Math.max(along, estimated);
}

/** (L(w + h·d) − L(w − h·d)) / 2h */
async function slope({ runner, base, tensor, ...p }: Probe, direction: Float64Array): Promise<number> {
  const weight = view(base[tensor]!) as Float64Array;
  const step = 1e-4 * Math.max(l2(weight), 1e-2 * Math.sqrt(p.gradient.length));
  const at = async (sign: number): Promise<number> => {
    const moved = tensorOf(
      'float64',
      base[tensor]!.dims,
      weight.map((w, i) => w + sign * step * direction[i]!),
    );
    const result = await runner.run({ ...base, [tensor]: moved });
    return (view(result[LOSS]!) as Float64Array)[0]!;
  };
  return ((await at(1)) - (await at(-1))) / (2 * step);
}

const l2 = (x: Float32Array | Float64Array): number =>
  Math.sqrt((x as Float64Array).reduce((sum, v) => sum + v * v, 0));

function unit(x: Float64Array): Float64Array {
  const length = l2(x);
  return x.map((v) => v / length);
}
