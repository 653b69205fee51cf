import { GraphBuilder } from '../../onnx/builder.ts';
import { DATA_TYPES, type DataType } from '../../onnx/dtypes.ts';
import { freezeGraph, freezeNode, type Graph, type Model, type Node } from '../../onnx/graph.ts';
import { castTensor } from '../../onnx/tensor.ts';

/*
 * Mixed precision: matrix products, which are nearly all of the arithmetic, use a half type. Normalizations, softmax, losses, sums, weights and
 * their gradients stay float32. The gradient of a cast is a cast, so the backward products use the half type too.
 */

export type Precision = 'fp32' | 'bf16' | 'fp16';

const isProduct = (node: Node): boolean =>
  (node.domain === '' && (node.op === 'MatMul' || node.op === 'Gemm')) || node.op === 'FusedMatMul';

/**
 * Rewrites the products of a forward graph to float16. `com.microsoft.FusedMatMul` without transposes becomes MatMul and a factor, since not
 * every provider has it in half precision.
 * @param model canonical, with dropout inserted.
 */
export function halfProducts(model: Model): Model {
  const g = GraphBuilder.rewriting(model.graph, { outputs: false });
  const casts = new Map<string, string>();
  const half = (name: string): string => {
    if (name === '') return name;
    const known = casts.get(name) ?? g.cast(name, 'float16');
    casts.set(name, known);
    return known;
  };
  for (const node of model.graph.nodes) {
    if (!isProduct(node)) g.append(node);
    else if (node.op === 'Gemm') appendGemm(g, node, half);
    else appendProduct(g, node, half);
  }
  const graph = freezeGraph({ ...g.build(), outputs: model.graph.outputs });
  return Object.freeze({ ...model, graph });
}

const CAST = (to: DataType) => ({ to: { kind: 'int', value: DATA_TYPES[to].code } }) as const;

const castTo = (node: Node, from: string): Node =>
  freezeNode({
    op: 'Cast',
    domain: '',
    name: `${node.name}.wide`,
    inputs: [from],
    outputs: node.outputs,
    attrs: CAST('float32'),
  });

function appendProduct(g: GraphBuilder, node: Node, half: (name: string) => string): void {
  const { alpha, ...attrs } = node.attrs;
  const plain = Object.values(attrs).every((a) => a.kind === 'int' && a.value === 0);
  const product = plain
    ? g.op('MatMul', node.inputs.map(half))
    : g.op(node.op, node.inputs.map(half), attrs, { domain: node.domain });
  if (alpha?.kind !== 'float' || alpha.value === 1) g.append(castTo(node, product));
  else
    g.append(
      freezeNode({
        ...castTo(node, product),
        op: 'Mul',
        inputs: [g.cast(product, 'float32'), g.scalar(alpha.value)],
        attrs: {},
      }),
    );
}

/** Appends a Gemm whose bias is added in float32, because the bias's gradient is a long sum. */
function appendGemm(g: GraphBuilder, node: Node, half: (name: string) => string): void {
  const [a, b, bias] = node.inputs as [string, string, string | undefined];
  const { beta, ...attrs } = node.attrs;
  const product = g.op('Gemm', [half(a), half(b)], attrs);
  if (!bias) {
    g.append(castTo(node, product));
    return;
  }
  const scaled = beta?.kind === 'float' && beta.value !== 1 ? g.mul(bias, g.scalar(beta.value)) : bias;
  g.append(
    freezeNode({ ...castTo(node, product), op: 'Add', inputs: [g.cast(product, 'float32'), scaled], attrs: {} }),
  );
}

/**
 * Rewrites float16 to bfloat16 if that is the precision. Training graphs are built in float16, since the CPU, on which shapes are probed, has
 * no bfloat16 products.
 */
export function retype(graph: Graph, precision: Precision): Graph {
  if (precision !== 'bf16') return graph;
  const to = 'bfloat16';
  const attrsOf = (node: Node) =>
    Object.fromEntries(
      Object.entries(node.attrs).map(([name, a]) => {
        if (a.kind === 'tensor' && a.value.dtype === 'float16')
          return [name, { kind: 'tensor', value: castTensor(a.value, to) } as const];
        const type = node.op === 'Cast' && name === 'to' && a.kind === 'int' && a.value === DATA_TYPES.float16.code;
        return [name, type ? CAST(to).to : a];
      }),
    );
  return freezeGraph({
    ...graph,
    nodes: graph.nodes.map((node) => freezeNode({ ...node, attrs: attrsOf(node) })),
    initializers: new Map(
      [...graph.initializers].map(([name, t]) => [name, t.dtype === 'float16' ? castTensor(t, to) : t]),
    ),
  });
}
