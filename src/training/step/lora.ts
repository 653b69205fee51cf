import { WinnowError } from '../../errors.ts';
import { GraphBuilder } from '../../onnx/builder.ts';
import { attrNumber, consumers, freezeNode, type Graph, type Model, type Node } from '../../onnx/graph.ts';
import { topologicalSort } from '../../onnx/order.ts';
import { float32, float32View } from '../../onnx/tensor.ts';
import { matches } from '../../onnx/weights.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { TrainableWeight } from './trainable.ts';

/*
 * LoRA (Hu et al., ICLR 2022): beside a frozen matrix W [in, out] two small ones are trained, A [in, r] and B [r, out], and the layer computes
 * x·W + (alpha / r)·x·A·B. B starts at 0, so that training starts at the backbone. At the end (alpha / r)·A·B is added to W, and the graph is
 * that of the backbone again.
 */

/** The low-rank matrices beside one weight. */
export interface Adapter {
  /** Initializer of the weight. */
  readonly tensor: string;
  /** Whether the weight is stored as [out, in]. */
  readonly transposed: boolean;
  /** alpha / rank */
  readonly scale: number;
  /** A, [in, rank] */
  readonly down: TrainableWeight;
  /** B, [rank, out] */
  readonly up: TrainableWeight;
}

/** A product x·W of the graph. */
interface Product {
  readonly node: Node;
  readonly tensor: string;
  readonly transposed: boolean;
}

const plain = (n: Node): boolean =>
  attrNumber(n, 'alpha', 1) === 1 && attrNumber(n, 'beta', 1) === 1 && attrNumber(n, 'transA', 0) === 0;

/** Returns the products that read a weight; undefined if anything else reads it too. */
function productsOf(
  tensor: string,
  read: ReadonlyMap<string, readonly Node[]>,
  name = tensor,
  turned = false,
): Product[] | undefined {
  const found: Product[] = [];
  for (const node of read.get(name) ?? []) {
    const isRight = node.inputs[1] === name && node.inputs[0] !== name && node.inputs[2] !== name && node.domain === '';
    if (node.op === 'MatMul' && isRight) found.push({ node, tensor, transposed: turned });
    else if (node.op === 'Gemm' && isRight && plain(node))
      found.push({ node, tensor, transposed: turned !== (attrNumber(node, 'transB', 0) === 1) });
    else if (node.op === 'Transpose' && !turned) {
      const behind = productsOf(tensor, read, node.outputs[0], true);
      if (behind === undefined) return undefined;
      found.push(...behind);
    } else return undefined;
  }
  return found;
}

/** Whether PyTorch stores the weight of a linear layer the other way round: as [out, in], where the graph has [in, out]. */
export function isTransposedInTorch(
  { name, value }: TrainableWeight,
  read: ReadonlyMap<string, readonly Node[]>,
): boolean {
  const [product] = value.dims.length === 2 ? (productsOf(name, read) ?? []) : [];
  return product?.transposed === false;
}

type Settings = NonNullable<Recipe['lora']>;
type Candidate = TrainableWeight & { readonly parameter: string; readonly frozen: boolean };

function createAdapter(
  { name, value, rate, decays }: Candidate,
  transposed: boolean,
  settings: Settings,
  seed: number,
) {
  const { rank, alpha } = settings;
  const [rows, columns] = value.dims as readonly [number, number];
  const [inner, outer] = transposed ? [columns, rows] : [rows, columns];
  const random = createRandom(deriveSeed(seed, 'lora', name));
  const bound = 1 / Math.sqrt(inner);
  const start = Float32Array.from({ length: inner * rank }, () => bound * (2 * random.next() - 1));
  const weight = (part: string, dims: readonly number[], data: Float32Array): TrainableWeight => ({
    name: `lora.${part}.${name}`,
    value: float32(dims, data),
    decays,
    group: 'backbone',
    rate,
  });
  return {
    tensor: name,
    transposed,
    scale: alpha / rank,
    down: weight('down', [inner, rank], start),
    up: weight('up', [rank, outer], new Float32Array(rank * outer)),
  };
}

/**
 * Creates the adapters of a recipe: for the encoder's matrices that only products read and that `targets` match and `freeze` does not.
 * A starts uniform within ±1/√in, B at 0.
 * @throws WinnowError `invalid_input` for a target that matches no such matrix.
 */
export function createAdapters(
  graph: Graph,
  weights: readonly Candidate[],
  settings: Settings,
  seed: number,
): readonly Adapter[] {
  const read = consumers(graph);
  const adaptable = weights.flatMap((weight) => {
    if (weight.group === 'head' || weight.frozen || weight.value.dims.length !== 2) return [];
    const [product, ...others] = productsOf(weight.name, read) ?? [];
    return product && others.every((o) => o.transposed === product.transposed) ? [{ weight, product }] : [];
  });
  const unmatched = settings.targets.find((t) => !adaptable.some(({ weight: w }) => matches([t], w.name, w.parameter)));
  if (unmatched !== undefined)
    throw new WinnowError('invalid_input', {
      where: 'recipe lora.targets',
      expected: `parts of names of the encoder's matrices, such as ${adaptable[0]?.weight.parameter ?? '*'}`,
      got: `"${unmatched}", which matches none of ${adaptable.length}`,
    });
  return adaptable
    .filter(({ weight: w }) => matches(settings.targets, w.name, w.parameter))
    .map(({ weight, product }) => createAdapter(weight, product.transposed, settings, seed));
}

/** A product that gets an adapter. */
interface Site {
  readonly adapter: Adapter;
  /** The product, or the addition of its bias: the step fuses the two, so that the adapter's output is added behind them. */
  readonly last: Node;
  readonly input: string;
}

function sitesOf(graph: Graph, adapters: readonly Adapter[]): Site[] {
  const read = consumers(graph);
  const outputs = new Set(graph.outputs.map((o) => o.name));
  return adapters.flatMap((adapter) =>
    (productsOf(adapter.tensor, read) ?? []).map(({ node }) => {
      const y = node.outputs[0]!;
      const [next, ...others] = read.get(y) ?? [];
      const bias = next?.inputs.find((input) => input !== y);
      const fuses =
        next?.op === 'Add' &&
        others.length === 0 &&
        !outputs.has(y) &&
        bias !== undefined &&
        graph.initializers.get(bias)?.dims.length === 1;
      return { adapter, last: fuses ? next : node, input: node.inputs[0]! };
    }),
  );
}

/** Values that adapters read, in the graph's order. */
export const adapterInputs = (graph: Graph, adapters: readonly Adapter[]): readonly string[] => [
  ...new Set(sitesOf(graph, adapters).map(({ input }) => input)),
];

/**
 * Adds adapters to a graph, as initializers. Values keep their names.
 * @param dropped replaces an input of adapters by the value after dropout.
 */
export function insertAdapters(
  model: Model,
  adapters: readonly Adapter[],
  dropped: ReadonlyMap<string, string> = new Map(),
): Model {
  if (adapters.length === 0) return model;
  const sites = new Map(sitesOf(model.graph, adapters).map((site) => [site.last, site]));
  const g = GraphBuilder.rewriting(model.graph);
  for (const { down, up } of adapters) for (const { name, value } of [down, up]) g.initializer(name, value);
  for (const node of model.graph.nodes) {
    const site = sites.get(node);
    if (!site) {
      g.append(node);
      continue;
    }
    const [y] = node.outputs as readonly [string];
    const base = g.unique(`${y}.base`);
    g.append(freezeNode({ ...node, outputs: [base] }));
    const { down, up, scale } = site.adapter;
    const low = g.mul(g.matmul(dropped.get(site.input) ?? site.input, down.name), g.scalar(scale));
    const added = g.matmul(low, up.name);
    const name = g.unique(`${y}.lora`);
    g.append(freezeNode({ op: 'Add', domain: '', name, inputs: [base, added], outputs: [y], attrs: {} }));
  }
  return { ...model, graph: topologicalSort(g.build()) };
}

/** Returns W + scale·A·B in W's own layout. */
function merged(
  { transposed, scale }: Adapter,
  weight: Float32Array,
  down: Float32Array,
  up: Float32Array,
  rank: number,
) {
  const [inner, outer] = [down.length / rank, up.length / rank];
  const sum = new Float32Array(weight.length);
  const row = new Float64Array(outer);
  for (let i = 0; i < inner; i++) {
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = scale * down[i * rank + k]!;
      for (let j = 0; j < outer; j++) row[j]! += factor * up[k * outer + j]!;
    }
    for (let j = 0; j < outer; j++) {
      const at = transposed ? j * inner + i : i * outer + j;
      sum[at] = weight[at]! + row[j]!;
    }
  }
  return sum;
}

/** Returns the trained weights with every adapter added to the weight that it stands beside, as a run without adapters has them. */
export function mergeAdapters(
  { graph }: Model,
  adapters: readonly Adapter[],
  trained: ReadonlyMap<string, Float32Array>,
): ReadonlyMap<string, Float32Array> {
  const weights = new Map(trained);
  for (const adapter of adapters) {
    const { tensor, down, up } = adapter;
    const [a, b] = [trained.get(down.name), trained.get(up.name)];
    weights.delete(down.name);
    weights.delete(up.name);
    if (a && b)
      weights.set(tensor, merged(adapter, float32View(graph.initializers.get(tensor)!), a, b, down.value.dims[1]!));
  }
  return weights;
}
