import { GraphBuilder } from '../builder.ts';
import { consumers, freezeNode, type Graph, type Node, producers } from '../graph.ts';
import { topologicalSort } from '../order.ts';

/** A linear layer: x [.., K] · W [K, N] + b [N]. */
interface Layer {
  readonly product: Node;
  readonly add: Node;
  readonly bias: string;
  readonly sizes: readonly [number, number];
}

/** Returns the sizes [K, N] of a matrix that is an initializer or a transposed one. */
function matrixSizes(
  graph: Graph,
  made: ReadonlyMap<string, Node>,
  name: string,
): readonly [number, number] | undefined {
  const own = graph.initializers.get(name)?.dims;
  if (own) return own.length === 2 ? [own[0]!, own[1]!] : undefined;
  const node = made.get(name);
  const transposed = node?.op === 'Transpose' ? graph.initializers.get(node.inputs[0]!)?.dims : undefined;
  return transposed?.length === 2 ? [transposed[1]!, transposed[0]!] : undefined;
}

function findLayers(graph: Graph): Layer[] {
  const [made, read] = [producers(graph), consumers(graph)];
  const outputs = new Set(graph.outputs.map((o) => o.name));
  return graph.nodes.flatMap((add) => {
    if (add.op !== 'Add' || add.domain !== '') return [];
    const at = add.inputs.findIndex((i) => graph.initializers.get(i)?.dims.length === 1);
    const bias = add.inputs[at];
    const value = add.inputs[1 - at];
    const product = at < 0 || value === undefined ? undefined : made.get(value);
    if (product?.op !== 'MatMul' || product.domain !== '') return [];
    const sizes = matrixSizes(graph, made, product.inputs[1]!);
    const alone = read.get(value!)?.length === 1 && !outputs.has(value!) && !graph.initializers.has(product.inputs[0]!);
    const { dims, dtype } = graph.initializers.get(bias!)!;
    const fits = sizes && dims[0] === sizes[1] && dtype === 'float32';
    return alone && fits ? [{ product, add, bias: bias!, sizes }] : [];
  });
}

/**
 * Fuses MatMul and Add of a linear layer into one Gemm over all tokens of the batch: the product starts from the bias, which saves a pass
 * over the states, and another in the backward pass. Values keep their names. Float32 only.
 */
export function fuseBias(graph: Graph): Graph {
  const layers = new Map(findLayers(graph).map((layer) => [layer.add, layer]));
  if (layers.size === 0) return graph;
  const g = GraphBuilder.rewriting(graph);
  const fused = new Set([...layers.values()].map(({ product }) => product));
  const shapes = new Map<string, string>();
  const leading = (x: string): string => {
    const known = shapes.get(x) ?? g.slice(g.shape(x), [0], [-1], [0]);
    shapes.set(x, known);
    return known;
  };
  for (const node of graph.nodes) {
    if (fused.has(node)) continue;
    const layer = layers.get(node);
    if (!layer) {
      g.append(node);
      continue;
    }
    const [x, weight] = layer.product.inputs as [string, string];
    const [inner, outer] = layer.sizes;
    const flat = g.op('Gemm', [g.reshape(x, [-1, inner]), weight, layer.bias], {}, { name: layer.product.name });
    const shape = g.concat([leading(x), g.ints([outer])], 0);
    g.append(
      freezeNode({
        op: 'Reshape',
        domain: '',
        name: node.name,
        inputs: [flat, shape],
        outputs: node.outputs,
        attrs: {},
      }),
    );
  }
  return topologicalSort(g.build());
}
