import { isFloat } from '../../onnx/dtypes.ts';
import { consumers, type Graph, type Node, producers } from '../../onnx/graph.ts';
import { downstream } from '../../onnx/order.ts';
import type { Shapes } from '../../onnx/probe.ts';
import type { Weight } from '../../onnx/weights.ts';
import type { DropoutRates } from './rates.ts';

/** A value that training drops parts of. */
export interface DropoutSite {
  /** `embeddings`, `layer.0.attention`, `layer.0.attention.output`, `layer.0.mlp`, `layer.0.position`, `layer.0.convolution`, `dense`, `classifier`. */
  readonly name: string;
  readonly kind: keyof DropoutRates;
  readonly value: string;
  /** Nodes that read the value after dropout; other readers keep the original. */
  readonly readers: readonly Node[];
}

/** Ops that return the same numbers in another shape or under another name. */
const RENAMES: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Identity']);

/** Looks up the structure of an encoder's graph in canonical form. */
class Encoder {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly made: ReadonlyMap<string, Node>;
  readonly read: ReadonlyMap<string, readonly Node[]>;
  /** Values that depend on weights. */
  readonly weighted: ReadonlySet<string>;
  /** Float values that depend on the tokens through floats: not those that depend on their shape only. */
  readonly states: ReadonlySet<string>;
  readonly #weights: ReadonlySet<string>;

  constructor(graph: Graph, shapes: Shapes, weights: readonly Weight[]) {
    this.graph = graph;
    this.shapes = shapes;
    this.made = producers(graph);
    this.read = consumers(graph);
    this.#weights = new Set(weights.map((w) => w.tensor));
    this.weighted = downstream(graph, this.#weights);
    this.states = tokenStates(graph, shapes, this.weighted);
  }

  readers(value: string): readonly Node[] {
    return this.read.get(value) ?? [];
  }

  dims(value: string): readonly number[] {
    return this.shapes.get(value)?.dims ?? [];
  }

  /** Whether the value is a weight, possibly after Transpose or Cast. */
  isWeight(value: string | undefined): boolean {
    if (value === undefined) return false;
    if (this.#weights.has(value)) return true;
    const node = this.made.get(value);
    return (node?.op === 'Transpose' || node?.op === 'Cast') && this.isWeight(node.inputs[0]);
  }

  /** Returns the product of the linear layer that made the value, through its bias, reshapes and renames. */
  linear(value: string | undefined): Node | undefined {
    const node = value === undefined ? undefined : this.made.get(value);
    if (!node) return undefined;
    if (node.op === 'MatMul' || node.op === 'FusedMatMul') return this.isWeight(node.inputs[1]) ? node : undefined;
    if (node.op === 'Gemm') return this.isWeight(node.inputs[1]) ? node : undefined;
    if (RENAMES.has(node.op)) return this.linear(node.inputs[0]);
    if (node.op !== 'Add') return undefined;
    const bias = node.inputs.findIndex((i) => this.isWeight(i) && this.dims(i).length === 1);
    return bias < 0 ? undefined : this.linear(node.inputs[1 - bias]);
  }
}

function tokenStates(graph: Graph, shapes: Shapes, weighted: ReadonlySet<string>): ReadonlySet<string> {
  const computed = downstream(
    graph,
    graph.inputs.map((i) => i.name),
  );
  const found = new Set<string>();
  for (const node of graph.nodes) {
    const lookUp = node.op === 'Gather' && weighted.has(node.inputs[0]!) && computed.has(node.inputs[1]!);
    if (!lookUp && !node.inputs.some((i) => found.has(i))) continue;
    for (const output of node.outputs)
      if (output !== '' && isFloat(shapes.get(output)?.dtype ?? 'bool')) found.add(output);
  }
  return found;
}

/**
 * Finds the dropout sites of an encoder with head by structure: those of PyTorch's modules of the BERT, RoBERTa, ELECTRA, ALBERT, MPNet,
 * DeBERTa-v2 and ModernBERT families, in the order of the forward pass.
 * @param graph canonical (`prepare`).
 */
export function findDropoutSites(
  graph: Graph,
  output: string,
  shapes: Shapes,
  weights: readonly Weight[],
): readonly DropoutSite[] {
  const e = new Encoder(graph, shapes, weights);
  const softmaxes = graph.nodes.filter(
    (n) => n.op === 'Softmax' && e.states.has(n.inputs[0]!) && mixture(e, n) !== undefined,
  );
  const sites = [
    ...embeddingSites(e),
    ...softmaxes.flatMap((n, layer) => attentionSite(e, n, layer)),
    ...positionSites(e, softmaxes),
    ...residualSites(e, softmaxes),
    ...convolutionSites(e),
    ...headSites(e, output),
  ];
  const order = new Map(graph.nodes.map((n, i) => [n, i]));
  const at = (site: DropoutSite): number => Math.min(...site.readers.map((r) => order.get(r)!));
  return sites.toSorted((a, b) => at(a) - at(b));
}

/** The first normalization of the tokens' embeddings, or the product with the mask that follows it (DeBERTa). */
function embeddingSites(e: Encoder): readonly DropoutSite[] {
  const norm = e.graph.nodes.find((n) => n.op === 'LayerNormalization' && e.states.has(n.inputs[0]!));
  if (!norm) return [];
  let value = norm.outputs[0]!;
  const [next, ...others] = e.readers(value);
  const factor = next?.op === 'Mul' && others.length === 0 ? next.inputs.find((i) => i !== value) : undefined;
  if (factor !== undefined && !e.weighted.has(factor)) value = next!.outputs[0]!;
  return [{ name: 'embeddings', kind: 'embeddings', value, readers: e.readers(value) }];
}

const BETWEEN: ReadonlySet<string> = new Set(['Where', 'Cast', 'Reshape', 'Mul', 'Div']);

/** Returns the product of attention probabilities and values, and its input of probabilities, through guards, gates, casts and reshapes. */
function mixture(e: Encoder, softmax: Node): { readonly node: Node; readonly value: string } | undefined {
  let value = softmax.outputs[0]!;
  for (let steps = 0; steps < 8; steps++) {
    const readers = e.readers(value).filter((n) => n.op !== 'IsNaN' && n.op !== 'Shape' && n.op !== 'ReduceSum');
    if (readers.length !== 1) return undefined;
    const node = readers[0]!;
    if (node.op === 'MatMul' && node.inputs[0] === value && e.states.has(node.inputs[1]!)) return { node, value };
    if (!BETWEEN.has(node.op)) return undefined;
    value = node.outputs[0]!;
  }
  return undefined;
}

function attentionSite(e: Encoder, softmax: Node, layer: number): readonly DropoutSite[] {
  const found = mixture(e, softmax);
  return found
    ? [{ name: `layer.${layer}.attention`, kind: 'attention', value: found.value, readers: [found.node] }]
    : [];
}

/** Projections of relative embeddings: products of weights with values that depend on weights alone. One site per layer. */
function positionSites(e: Encoder, softmaxes: readonly Node[]): readonly DropoutSite[] {
  const projections = e.graph.nodes.filter(
    (n) => n.op === 'MatMul' && e.isWeight(n.inputs[1]) && e.weighted.has(n.inputs[0]!) && !e.states.has(n.inputs[0]!),
  );
  const byLayer = Map.groupBy(projections, (node) => {
    const reached = downstream(e.graph, node.outputs);
    return softmaxes.findIndex((s) => reached.has(s.inputs[0]!));
  });
  return [...byLayer].flatMap(([layer, readers]) =>
    [...Map.groupBy(readers, (r) => r.inputs[0]!)].map(([value, some]) => ({
      name: `layer.${layer}.position`,
      kind: 'position' as const,
      value,
      readers: some,
    })),
  );
}

/** The ends of attention and feed-forward parts: sums of a stream with a linear layer's output that nothing else reads. */
function residualSites(e: Encoder, softmaxes: readonly Node[]): readonly DropoutSite[] {
  const sums = e.graph.nodes.flatMap((sum) => {
    const branch = sum.op === 'Add' ? sum.inputs.find((i) => isBranch(e, sum, i)) : undefined;
    return branch === undefined ? [] : [{ sum, branch }];
  });
  const streams = new Set(sums.map(({ sum }) => sum.outputs[0]!));
  // In a pre-norm encoder a sum is also an input of the next sum.
  const preNorm = sums.some(({ sum, branch }) => sum.inputs.some((i) => i !== branch && streams.has(i)));
  const order = new Map(e.graph.nodes.map((n, i) => [n, i]));
  return sums.map(({ sum, branch }) => {
    const layer = softmaxes.findLastIndex((s) => order.get(s)! < order.get(sum)!);
    const product = e.linear(branch)!;
    const afterAttention = isMixture(e, product.inputs[0]!);
    const name = `layer.${layer}.${afterAttention ? 'attention.output' : 'mlp'}`;
    const kind = afterAttention ? ('attentionOutput' as const) : ('mlp' as const);
    if (preNorm && !afterAttention) return { name, kind, value: product.inputs[0]!, readers: [product] };
    return { name, kind, value: branch, readers: [sum] };
  });
}

const ACTIVATED: ReadonlySet<string> = new Set(['Tanh', 'Gelu', 'Relu']);

/** DeBERTa-v2's convolution, which is added to the first layer's states: what it gives, before the activation. */
function convolutionSites(e: Encoder): readonly DropoutSite[] {
  return e.graph.nodes.flatMap((sum) => {
    const activation =
      sum.op === 'Add' ? sum.inputs.map((i) => e.made.get(i)).find((n) => ACTIVATED.has(n?.op ?? '')) : undefined;
    const value = activation?.inputs[0];
    if (value === undefined || !e.states.has(value) || !e.linear(value)) return [];
    return [{ name: 'layer.0.convolution', kind: 'mlp' as const, value, readers: [activation!] }];
  });
}

function isBranch(e: Encoder, sum: Node, value: string): boolean {
  const other = sum.inputs.find((i) => i !== value);
  if (other === undefined || !e.states.has(other) || e.readers(value).length !== 1) return false;
  return e.linear(value) !== undefined && e.states.has(value) && e.dims(value).length === e.dims(other).length;
}

/** Whether the value is attention's mixture of values, possibly after Transpose, Reshape or Cast. */
function isMixture(e: Encoder, value: string): boolean {
  const node = e.made.get(value);
  if (node?.op === 'MatMul') return !e.isWeight(node.inputs[1]);
  return (node?.op === 'Transpose' || node?.op === 'Reshape' || node?.op === 'Cast') && isMixture(e, node.inputs[0]!);
}

const HEAD_STEPS: ReadonlySet<string> = new Set([
  'Tanh',
  'Gelu',
  'Relu',
  'LayerNormalization',
  'Sigmoid',
  'Identity',
  'Cast',
]);

/** Inputs of the last linear layer, and of the dense layer before it. */
function headSites(e: Encoder, output: string): readonly DropoutSite[] {
  const last = e.linear(output);
  if (!last) return [];
  const input = last.inputs[0]!;
  const sites: DropoutSite[] = [{ name: 'classifier', kind: 'classifier', value: input, readers: [last] }];
  let value = input;
  while (HEAD_STEPS.has(e.made.get(value)?.op ?? '')) value = e.made.get(value)!.inputs[0]!;
  const dense = value === input ? undefined : e.linear(value);
  if (dense) sites.push({ name: 'dense', kind: 'dense', value: dense.inputs[0]!, readers: [dense] });
  return sites;
}
