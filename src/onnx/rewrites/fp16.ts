import { GraphBuilder } from '../builder.ts';
import { DATA_TYPES } from '../dtypes.ts';
import {
  type Attribute,
  constantNumbers,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type Node,
  producers,
  reads,
  renameReads,
} from '../graph.ts';
import { prune, upstream } from '../order.ts';
import type { Shapes } from '../probe.ts';
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

/** Nodes whose arithmetic stays float32. */
interface Exact {
  readonly nodes: ReadonlySet<Node>;
  /** Float values that such nodes read and others make. */
  readonly entering: ReadonlySet<string>;
  /** Float values of such nodes that other nodes read. */
  readonly leaving: ReadonlySet<string>;
}

/** Finds the nodes that compute rotary angles: float16 has no whole numbers above 2,048, and at position 1,000 its step is half a radian. */
function anglesOf(graph: Graph): readonly Node[] {
  const turns = graph.nodes.filter((n) => n.domain === '' && (n.op === 'Sin' || n.op === 'Cos'));
  const needed = upstream(
    graph,
    turns.flatMap((n) => n.outputs),
  );
  return graph.nodes.filter((n) => n.outputs.some((o) => needed.has(o)));
}

/** Returns the nodes of √(mean x² + ε) that end in a square root: hidden states of decoders are hundreds, their squares beyond float16. */
function rootOf(graph: Graph, made: ReadonlyMap<string, Node>, last: Node): readonly Node[] {
  if (last.op !== 'Sqrt' || last.domain !== '') return [];
  const sum = made.get(last.inputs[0]!);
  const mean = sum?.op === 'Add' ? sum.inputs.map((i) => made.get(i)).find((n) => n?.op === 'ReduceMean') : undefined;
  const square = mean && made.get(mean.inputs[0]!);
  if (!sum || !mean || !square) return [];
  const [x, by] = square.inputs;
  const isSquare = square.op === 'Pow' ? constantNumbers(graph, by)?.[0] === 2 : square.op === 'Mul' && x === by;
  return isSquare ? [square, mean, sum, last] : [];
}

/** Finds the nodes that stay float32. @param shapes Of every value. */
function exactOf(graph: Graph, shapes: Shapes): Exact {
  const made = producers(graph);
  const nodes = new Set([...anglesOf(graph), ...graph.nodes.flatMap((node) => rootOf(graph, made, node))]);
  const isFloat = (value: string) => shapes.get(value)?.dtype === 'float32';
  const foreign = (value: string) => made.has(value) && !nodes.has(made.get(value)!);
  const entering = [...nodes].flatMap(reads).filter((value) => foreign(value) && isFloat(value));
  const others = new Set([
    ...graph.nodes.filter((n) => !nodes.has(n)).flatMap(reads),
    ...graph.outputs.map((o) => o.name),
  ]);
  const leaving = [...nodes].flatMap((n) => n.outputs).filter((o) => others.has(o) && isFloat(o));
  return { nodes, entering: new Set(entering), leaving: new Set(leaving) };
}

/** Halves a graph but for the nodes of `exact`, whose float results are cast where others read them. */
function halveAround(graph: Graph, { nodes, entering, leaving }: Exact): Graph {
  const half = halveGraph({ ...graph, nodes: graph.nodes.filter((n) => !nodes.has(n)) });
  const g = GraphBuilder.rewriting(freezeGraph({ ...half, nodes: [...graph.nodes] }));
  const halfNodes = half.nodes.values();
  const casts = new Map([...leaving].map((value) => [value, g.unique(`${value}_half`)]));
  const castTo = (from: string, to: string, type: number): string => {
    const attrs = { to: { kind: 'int', value: type } } as const;
    g.append({ op: 'Cast', domain: '', name: `${to}_cast`, inputs: [from], outputs: [to], attrs });
    return to;
  };
  const widened = new Map<string, string>();
  const wide = (name: string): string => {
    if (entering.has(name)) {
      const found = widened.get(name) ?? castTo(name, g.unique(`${name}_wide`), FLOAT);
      widened.set(name, found);
      return found;
    }
    const value = graph.initializers.get(name);
    return value?.dtype === 'float32' ? g.constant(value, `${name}_float`) : name;
  };
  for (const node of graph.nodes) {
    if (!nodes.has(node)) {
      g.append(renameReads(halfNodes.next().value!, casts));
      continue;
    }
    g.append({ ...node, inputs: node.inputs.map(wide) });
    for (const value of node.outputs) if (casts.has(value)) castTo(value, casts.get(value)!, HALF);
  }
  return prune(g.build());
}

/**
 * Rewrites a model to float16 weights and arithmetic, but for rotary angles and sums of squares. Inputs and outputs keep their types: float
 * outputs are cast back at the end.
 * @param model canonical float32 model (`prepare`) without float inputs.
 * @param shapes Of every value, from a probing batch.
 */
export function halveModel(model: Model, shapes: Shapes): Model {
  const half = halveAround(model.graph, exactOf(model.graph, shapes));
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
