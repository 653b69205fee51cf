import { GraphBuilder, MICROSOFT } from '../builder.ts';
import { DATA_TYPES, type DataType } from '../dtypes.ts';
import {
  type Attribute,
  attrNumber,
  attrString,
  freezeNode,
  type Graph,
  type Model,
  type Node,
  opKey,
} from '../graph.ts';
import type { Shapes } from '../probe.ts';
import { float32View, frontAxis, type Tensor, tensorOf } from '../tensor.ts';

/*
 * Rewrites a float32 model to double precision, for checking gradients by differences: the steps can then be so small that the difference
 * is the derivative. Integer values stay as they are.
 */

const widen = (dtype: DataType | undefined): DataType | undefined => (dtype === 'float32' ? 'float64' : dtype);

/** Converts a float32 tensor to float64; other types stay. */
export function widenTensor(t: Tensor): Tensor {
  return t.dtype === 'float32' ? tensorOf('float64', t.dims, Float64Array.from(float32View(t))) : t;
}

/** Ops without a double kernel in the engine whose results float32 holds exactly. */
const NARROW: ReadonlySet<string> = new Set(['Ceil', 'OneHot']);

/**
 * Rewrites a model to double precision. Erf and Gelu become a quadrature with an error of 1e-14.
 * @param shapes of the float32 model, for the ranks of products.
 */
export function toFloat64(model: Model, shapes: Shapes): Model {
  return Object.freeze({ ...model, graph: widenGraph(model.graph, shapes) });
}

function widenGraph(graph: Graph, shapes: Shapes): Graph {
  const info = <T extends { readonly dtype?: DataType }>(v: T): T => {
    const dtype = widen(v.dtype);
    return dtype === undefined ? v : { ...v, dtype };
  };
  const initializers = new Map([...graph.initializers].map(([name, t]) => [name, widenTensor(t)]));
  const inputs = graph.inputs.map(info);
  const g = GraphBuilder.rewriting({ ...graph, inputs, outputs: graph.outputs.map(info), initializers });
  for (const node of graph.nodes) widenNode(g, node, shapes);
  return g.build();
}

function widenNode(g: GraphBuilder, node: Node, shapes: Shapes): void {
  const bridge = (value: string): void =>
    g.append({
      op: 'Identity',
      domain: '',
      name: node.name,
      inputs: [value],
      outputs: node.outputs.slice(0, 1),
      attrs: {},
    });
  const [x, b] = node.inputs as [string, string];
  const forms: Readonly<Record<string, () => void>> = {
    Erf: () => bridge(erf(g, x)),
    Gelu: () => bridge(attrString(node, 'approximate', 'none') === 'tanh' ? tanhGelu(g, x) : exactGelu(g, x)),
    Cos: () => bridge(g.op('Sin', [g.add(x, g.scalar(Math.PI / 2, 'float64'))])),
    Softplus: () => bridge(softplus(g, x)),
    HardSigmoid: () => bridge(hardSigmoid(g, node)),
    LayerNormalization: () => layerNorm(g, node, shapes),
    [`${MICROSOFT}:FusedMatMul`]: () => bridge(product(g, node, [x, b], shapes)),
  };
  const form = forms[opKey(node)];
  const narrow = NARROW.has(opKey(node)) && shapes.get(node.outputs[0]!)?.dtype === 'float32';
  if (form) form();
  else if (narrow) {
    const inputs = node.inputs.map((i) => (shapes.get(i)?.dtype === 'float32' ? g.cast(i, 'float32') : i));
    bridge(g.cast(g.op(node.op, inputs, node.attrs), 'float64'));
  } else g.append(freezeNode({ ...node, attrs: widenAttributes(node, shapes) }));
}

function widenAttributes(node: Node, shapes: Shapes): Record<string, Attribute> {
  const attrs: Record<string, Attribute> = {};
  for (const [name, a] of Object.entries(node.attrs)) {
    if (a.kind === 'tensor') attrs[name] = { kind: 'tensor', value: widenTensor(a.value) };
    else if (a.kind === 'graph') attrs[name] = { kind: 'graph', value: widenGraph(a.value, shapes) };
    else if (node.op === 'Cast' && name === 'to' && a.value === DATA_TYPES.float32.code)
      attrs[name] = { kind: 'int', value: DATA_TYPES.float64.code };
    else attrs[name] = a;
  }
  return attrs;
}

function product(g: GraphBuilder, node: Node, [a, b]: readonly [string, string], shapes: Shapes): string {
  const flag = (name: string): boolean => attrNumber(node, name, 0) !== 0;
  const rank = (value: string): number => shapes.get(value)!.dims.length;
  const alpha = attrNumber(node, 'alpha', 1);
  return g.matmul(a, b, {
    transA: flag('transA'),
    transB: flag('transB'),
    alpha,
    dtype: 'float64',
    rankA: rank(a),
    rankB: rank(b),
  });
}

/** max(x, 0) + ln(1 + e^−|x|) */
const softplus = (g: GraphBuilder, x: string): string => {
  const tail = g.log(g.add(g.exp(g.neg(g.op('Abs', [x]))), g.scalar(1, 'float64')));
  return g.add(g.relu(x), tail);
};

/** αx + β between 0 and 1 */
function hardSigmoid(g: GraphBuilder, node: Node): string {
  const number = (name: string, otherwise: number): string =>
    g.scalar(Math.fround(attrNumber(node, name, otherwise)), 'float64');
  const line = g.add(g.mul(node.inputs[0]!, number('alpha', 0.2)), number('beta', 0.5));
  return g.op('Clip', [line, g.scalar(0, 'float64'), g.scalar(1, 'float64')]);
}

/** LayerNormalization in primitive ops: the engine's own gives mean and inverse deviation in single precision. */
function layerNorm(g: GraphBuilder, node: Node, shapes: Shapes): void {
  const [x, gamma, beta = ''] = node.inputs as [string, string, string?];
  const rank = shapes.get(x)!.dims.length;
  const first = frontAxis(attrNumber(node, 'axis', -1), rank);
  const axes = Array.from({ length: rank - first }, (_, i) => first + i);
  const mean = g.reduceMean(x, axes);
  const centered = g.sub(x, mean);
  const variance = g.reduceMean(g.mul(centered, centered), axes);
  const epsilon = g.scalar(Math.fround(attrNumber(node, 'epsilon', 1e-5)), 'float64');
  const inverse = g.op('Reciprocal', [g.sqrt(g.add(variance, epsilon))]);
  const scaled = g.mul(g.mul(centered, inverse), gamma);
  const values = [beta === '' ? scaled : g.add(scaled, beta), mean, inverse];
  for (const [i, output] of node.outputs.entries())
    if (output !== '')
      g.append({
        op: 'Identity',
        domain: '',
        name: g.unique(node.name),
        inputs: [values[i]!],
        outputs: [output],
        attrs: {},
      });
}

const exactGelu = (g: GraphBuilder, x: string): string => {
  const area = g.add(erf(g, g.mul(x, g.scalar(Math.SQRT1_2, 'float64'))), g.scalar(1, 'float64'));
  return g.mul(g.mul(x, g.scalar(0.5, 'float64')), area);
};

function tanhGelu(g: GraphBuilder, x: string): string {
  const root = Math.sqrt(2 / Math.PI);
  const cubic = g.mul(g.scalar(0.044715 * root, 'float64'), g.mul(x, x));
  const inner = g.mul(x, g.add(cubic, g.scalar(root, 'float64')));
  return g.mul(g.mul(x, g.scalar(0.5, 'float64')), g.add(g.op('Tanh', [inner]), g.scalar(1, 'float64')));
}

/** Beyond this, erf is ±1 in double precision. */
const ERF_LIMIT = 6;
const ERF_POINTS = 48;

/** erf x = 2x/√π ∫₀¹ e^(−x²t²) dt, by Gauss–Legendre. */
function erf(g: GraphBuilder, x: string): string {
  const { nodes, weights } = legendre(ERF_POINTS);
  const t = nodes.map((n) => (n + 1) / 2);
  const clipped = g.op('Clip', [x, g.scalar(-ERF_LIMIT, 'float64'), g.scalar(ERF_LIMIT, 'float64')]);
  const column = g.unsqueeze(clipped, [-1]);
  const points = g.constant(
    tensorOf(
      'float64',
      [ERF_POINTS],
      Float64Array.from(t, (v) => -v * v),
    ),
  );
  const factors = g.constant(
    tensorOf(
      'float64',
      [ERF_POINTS, 1],
      Float64Array.from(weights, (w) => w / Math.sqrt(Math.PI)),
    ),
  );
  const bells = g.exp(g.mul(g.mul(column, column), points));
  return g.mul(clipped, g.squeeze(g.matmul(bells, factors), [-1]));
}

/** Computes nodes and weights of Gauss–Legendre quadrature on [−1, 1] by Newton's method on the Legendre polynomial. */
function legendre(n: number): { readonly nodes: readonly number[]; readonly weights: readonly number[] } {
  const nodes: number[] = [];
  const weights: number[] = [];
  for (let i = 0; i < n; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5));
    let slope = 0;
    for (let step = 0; step < 50; step++) {
      let [before, value] = [1, x];
      for (let k = 2; k <= n; k++) [before, value] = [value, ((2 * k - 1) * x * value - (k - 1) * before) / k];
      slope = (n * (x * value - before)) / (x * x - 1);
      const move = value / slope;
      x -= move;
      if (Math.abs(move) < 1e-15) break;
    }
    nodes.push(x);
    weights.push(2 / ((1 - x * x) * slope * slope));
  }
  return { nodes, weights };
}
