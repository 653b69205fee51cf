import { isFloat } from './dtypes.ts';
import { consumers, freezeGraph, type Graph, type Node, producers, reads } from './graph.ts';
import { numbers, sizeOf, type Tensor } from './tensor.ts';

/** A parameter of the model: an initializer that training may change. */
export interface Weight {
  /** The initializer's name: its identity. */
  readonly tensor: string;
  /** Name of the parameter in the original model, where the file shows it; else `tensor`. */
  readonly name: string;
  readonly dims: readonly number[];
  /** Whether weight decay applies: to matrices and tables, not to biases and normalization weights. */
  readonly decay: boolean;
}

export interface FindOptions {
  /** Initializers that were `Constant` nodes in the file: exporters write numbers that way, rarely parameters. */
  readonly constants?: ReadonlySet<string>;
  /** Counted as weights in any case: parts of tensor or parameter names, `*` for any text. */
  readonly include?: readonly string[];
  /** Never counted as weights. */
  readonly exclude?: readonly string[];
}

/**
 * Finds the parameters among a graph's initializers that its outputs depend on, in the order in which the forward pass first reads them.
 * Not every float initializer is one. Constants are: scalars (mask values, 1/√d), single numbers that are no bias, rotary frequencies
 * (which reach the output through Sin and Cos only), tables of mask values, and `Constant` nodes of fewer than two axes.
 */
export function findWeights(graph: Graph, options: FindOptions = {}): readonly Weight[] {
  const reaching = reachingByFloats(graph);
  const read = consumers(graph);
  const made = producers(graph);
  const names = parameterNames(graph);
  const found: Weight[] = [];
  for (const tensor of inOrderOfUse(graph)) {
    const value = graph.initializers.get(tensor)!;
    if (!isFloat(value.dtype) || !reaching.has(tensor)) continue;
    const name = names.get(tensor) ?? tensor;
    const included = matches(options.include ?? [], tensor, name);
    const looksTrained = isParameter(tensor, value, options.constants ?? new Set(), (v) =>
      isBias(v, read.get(v) ?? [], made),
    );
    if (included || (looksTrained && !matches(options.exclude ?? [], tensor, name)))
      found.push({ tensor, name, dims: value.dims, decay: value.dims.length >= 2 });
  }
  return found;
}

/** Returns the initializers in the order in which the forward pass first reads them. */
function inOrderOfUse(graph: Graph): ReadonlySet<string> {
  return new Set(graph.nodes.flatMap(reads).filter((name) => graph.initializers.has(name)));
}

function isParameter(
  name: string,
  value: Tensor,
  constants: ReadonlySet<string>,
  isBiasName: (name: string) => boolean,
): boolean {
  if (value.dims.length === 0 || /inv_freq/.test(name)) return false;
  if (constants.has(name) && (value.dims.length < 2 || allEqual(value))) return false;
  if (sizeOf(value.dims) === 1) return isBiasName(name);
  return !holdsMaskValues(value);
}

/** Larger in magnitude than any learned number. */
const MASK_VALUE = 1e30;

function holdsMaskValues(value: Tensor): boolean {
  return sizeOf(value.dims) <= 1 << 22 && numbers(value).some((x) => Math.abs(x) > MASK_VALUE);
}

function allEqual(value: Tensor): boolean {
  const all = numbers(value);
  return all.every((x) => x === all[0]);
}

/** Whether the value is added to a matrix product. */
function isBias(name: string, readers: readonly Node[], made: ReadonlyMap<string, Node>): boolean {
  return readers.some((node) => {
    if (node.op === 'Gemm') return node.inputs[2] === name;
    const other = node.inputs.find((i) => i !== name);
    return node.op === 'Add' && other !== undefined && made.get(other)?.op === 'MatMul';
  });
}

/** Ops behind which an initializer is no parameter: their outputs are flat in it, or it is a frequency. */
const STOPS: ReadonlySet<string> = new Set([
  'Sin',
  'Cos',
  'Shape',
  'Size',
  'Equal',
  'Greater',
  'Less',
  'GreaterOrEqual',
  'LessOrEqual',
  'IsNaN',
  'ArgMax',
]);

function reachingByFloats(graph: Graph): ReadonlySet<string> {
  const found = new Set(graph.outputs.map((o) => o.name));
  for (const node of graph.nodes.toReversed())
    if (!STOPS.has(node.op) && node.outputs.some((o) => found.has(o)))
      for (const input of node.inputs) found.add(input);
  return found;
}

/** Names that exporters generate: `onnx::MatMul_370`, `val_87`, `1234`. */
const GENERATED = /^(onnx::\w+|val_\d+|_\w*\d+|\d+)$/;

/**
 * Derives names for initializers with generated ones: from the bias that is added to the product, else from the path in the node's name
 * (`/bert/encoder/layer.0/attention/self/query/MatMul`).
 */
function parameterNames(graph: Graph): ReadonlyMap<string, string> {
  const read = consumers(graph);
  const taken = new Set(graph.initializers.keys());
  const names = new Map<string, string>();
  for (const tensor of graph.initializers.keys()) {
    if (!GENERATED.test(tensor)) continue;
    const name = (read.get(tensor) ?? [])
      .map((node) => nameAt(graph, node, read))
      .find((n) => n !== undefined && !taken.has(n));
    if (name === undefined) continue;
    names.set(tensor, name);
    taken.add(name);
  }
  return names;
}

function nameAt(graph: Graph, node: Node, read: ReadonlyMap<string, readonly Node[]>): string | undefined {
  if (node.op === 'Transpose' || node.op === 'Cast')
    return (read.get(node.outputs[0]!) ?? []).map((next) => nameAt(graph, next, read)).find((n) => n !== undefined);
  if (node.op !== 'MatMul' && node.op !== 'Gemm') return undefined;
  const sum = (read.get(node.outputs[0]!) ?? []).find((n) => n.op === 'Add');
  const bias = [...(sum?.inputs ?? []), node.inputs[2] ?? ''].find(
    (i) => i.endsWith('.bias') && graph.initializers.has(i),
  );
  if (bias !== undefined) return bias.replace(/\.bias$/, '.weight');
  const path = node.name.split('/').slice(1, -1);
  return path.length > 0 ? `${path.join('.')}.weight` : undefined;
}

/** Whether a pattern matches one of the names: as a part of it or, if the pattern holds `*` for any text, as a whole. */
export function matches(patterns: readonly string[], ...names: readonly string[]): boolean {
  return patterns.some((pattern) =>
    names.some((name) => (pattern.includes('*') ? glob(pattern).test(name) : name.includes(pattern))),
  );
}

const glob = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);

/** Returns the weights that no pattern of `freeze` matches. */
export const unfrozen = (weights: readonly Weight[], freeze: readonly string[]): readonly Weight[] =>
  weights.filter((w) => !matches(freeze, w.tensor, w.name));

/** Turns initializers into inputs of the same type and dims, appended in the given order. */
export function weightsToInputs(graph: Graph, tensors: readonly string[]): Graph {
  const initializers = new Map(graph.initializers);
  const inputs = tensors.map((name) => {
    const { dtype, dims } = initializers.get(name)!;
    initializers.delete(name);
    return { name, dtype, dims };
  });
  return freezeGraph({ ...graph, initializers, inputs: [...graph.inputs, ...inputs] });
}
