import { GraphBuilder } from '../builder.ts';
import { DATA_TYPES } from '../dtypes.ts';
import { type Attribute, freezeGraph, freezeNode, type Graph, type Model, type Node, renameReads } from '../graph.ts';
import { float32View, type Tensor, tensorOf } from '../tensor.ts';

/** Largest finite float16. Mask values such as −3.4e38 become its negative, which has the effect of −∞ in a softmax. */
const LARGEST = 65504;

/** Converts float32 to float16 and saturates at the ends of its range; other types stay. */
export function toHalf(t: Tensor): Tensor {
  if (t.dtype !== 'float32') return t;
  const source = float32View(t);
  const half = new Float16Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const x = source[i]!;
    half[i] = Number.isFinite(x) ? Math.max(-LARGEST, Math.min(LARGEST, x)) : x;
  }
  return tensorOf('float16', t.dims, half);
}

const FLOAT = DATA_TYPES.float32.code;
const HALF = DATA_TYPES.float16.code;

function halveAttribute(node: Node, name: string, a: Attribute): Attribute {
  if (a.kind === 'tensor') return { kind: 'tensor', value: toHalf(a.value) };
  if (a.kind === 'graph') return { kind: 'graph', value: halveGraph(a.value) };
  const type = node.op === 'Cast' ? 'to' : 'dtype';
  return a.kind === 'int' && name === type && a.value === FLOAT ? { kind: 'int', value: HALF } : a;
}

function halveNode(node: Node): Node {
  const attrs = Object.fromEntries(
    Object.entries(node.attrs).map(([name, a]) => [name, halveAttribute(node, name, a)]),
  );
  return freezeNode({ ...node, attrs });
}

function halveGraph(graph: Graph): Graph {
  const typed = <T extends { dtype?: unknown }>(v: T): T => (v.dtype === 'float32' ? { ...v, dtype: 'float16' } : v);
  return freezeGraph({
    ...graph,
    inputs: graph.inputs.map(typed),
    outputs: graph.outputs.map(typed),
    initializers: new Map([...graph.initializers].map(([name, t]) => [name, toHalf(t)])),
    nodes: graph.nodes.map(halveNode),
  });
}

/**
 * Rewrites a model to float16 weights and arithmetic. Inputs and outputs keep their types: float outputs are cast back at the end.
 * @param model canonical float32 model (`prepare`) without float inputs.
 */
export function halveModel(model: Model): Model {
  const half = halveGraph(model.graph);
  const floats = model.graph.outputs.filter((o) => o.dtype === 'float32');
  const rename = new Map(floats.map((o) => [o.name, `${o.name}_half`]));
  const nodes = half.nodes.map((node) =>
    renameReads({ ...node, outputs: node.outputs.map((o) => rename.get(o) ?? o) }, rename),
  );
  const g = GraphBuilder.from(freezeGraph({ ...half, nodes, outputs: [] }));
  for (const o of model.graph.outputs) {
    const inner = rename.get(o.name);
    if (inner !== undefined)
      g.append({
        op: 'Cast',
        domain: '',
        name: `${o.name}_float`,
        inputs: [inner],
        outputs: [o.name],
        attrs: { to: { kind: 'int', value: FLOAT } },
      });
    g.output(o.name, o.dtype, o.dims);
  }
  return { ...model, graph: g.build() };
}
