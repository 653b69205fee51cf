import { WinnowError } from '../../errors.ts';
import { GraphBuilder, OPSET } from '../builder.ts';
import {
  type Attribute,
  allNames,
  attrNumber,
  attrNumbers,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type Node,
  nodeLabel,
} from '../graph.ts';
import type { Shapes } from '../probe.ts';
import { int64s, tensor } from '../tensor.ts';

/** What rewriting a node needs. */
interface Context {
  readonly g: GraphBuilder;
  readonly rank: (value: string) => number | undefined;
}

/** Appends the node in its new form to the builder. */
type Form = (node: Node, context: Context) => void;

interface Change {
  /** Opset that introduced the new form. */
  readonly at: number;
  readonly form: Form;
}

function without(node: Node, ...names: string[]): Record<string, Attribute> {
  return Object.fromEntries(Object.entries(node.attrs).filter(([name]) => !names.includes(name)));
}

/** Turns an attribute of integers into an input. */
const toInput =
  (attribute: string, position = 1): Form =>
  (node, { g }) => {
    const values = attrNumbers(node, attribute);
    if (values === undefined) return g.append(node);
    const inputs = [...node.inputs];
    while (inputs.length < position) inputs.push('');
    inputs[position] = g.constant(int64s(values), 'ints');
    g.append({ ...node, inputs, attrs: without(node, attribute) });
  };

/** Before opset 13, Softmax worked on its input flattened to two dimensions at `axis`, by default 1. */
const flattened: Form = (node, { g, rank }) => {
  const axis = attrNumber(node, 'axis', 1);
  const dims = rank(node.inputs[0]!);
  if (axis === -1 || (dims !== undefined && axis === dims - 1))
    return g.append({ ...node, attrs: { ...node.attrs, axis: { kind: 'int', value: -1 } } });
  const shape = g.shape(node.inputs[0]!);
  const flat = g.op('Flatten', [node.inputs[0]!], { axis });
  const soft = g.op(node.op, [flat], { axis: -1 });
  g.append({ op: 'Reshape', domain: '', name: node.name, inputs: [soft, shape], outputs: node.outputs, attrs: {} });
};

/** From opset 18, Split without sizes has the number of parts as an attribute. */
const countedSplit: Form = (node, { g }) => {
  const counted: Attribute = { kind: 'int', value: node.outputs.length };
  g.append((node.inputs[1] ?? '') === '' ? { ...node, attrs: { ...node.attrs, num_outputs: counted } } : node);
};

const clipInputs: Form = (node, { g }) => {
  if (node.inputs.length > 1) return g.append(node);
  const bound = (name: string): string =>
    name in node.attrs ? g.constant(tensor('float32', [], [attrNumber(node, name, 0)])) : '';
  g.append({ ...node, inputs: [node.inputs[0]!, bound('min'), bound('max')], attrs: {} });
};

const padInputs: Form = (node, { g }) => {
  const pads = attrNumbers(node, 'pads');
  if (pads === undefined) return g.append(node);
  const inputs = [node.inputs[0]!, g.ints(pads), g.constant(tensor('float32', [], [attrNumber(node, 'value', 0)]))];
  g.append({ ...node, inputs, attrs: without(node, 'pads', 'value') });
};

const sliceInputs: Form = (node, { g }) => {
  const starts = attrNumbers(node, 'starts');
  if (starts === undefined) return g.append(node);
  const axes = attrNumbers(node, 'axes') ?? starts.map((_, i) => i);
  g.append({
    ...node,
    inputs: [node.inputs[0]!, g.ints(starts), g.ints(attrNumbers(node, 'ends')!), g.ints(axes)],
    attrs: {},
  });
};

const topKInputs: Form = (node, { g }) =>
  g.append(
    'k' in node.attrs
      ? { ...node, inputs: [node.inputs[0]!, g.ints([attrNumber(node, 'k', 1)])], attrs: without(node, 'k') }
      : node,
  );

const axesAt = (at: number): readonly Change[] => [{ at, form: toInput('axes') }];

/** Ops whose form changed between opset 7 and 23, oldest change first; other ops kept theirs. */
const CHANGES: Readonly<Record<string, readonly Change[]>> = {
  Squeeze: axesAt(13),
  Unsqueeze: axesAt(13),
  ReduceSum: axesAt(13),
  ReduceMean: axesAt(18),
  ReduceMax: axesAt(18),
  ReduceMin: axesAt(18),
  ReduceProd: axesAt(18),
  ReduceL1: axesAt(18),
  ReduceL2: axesAt(18),
  ReduceLogSum: axesAt(18),
  ReduceLogSumExp: axesAt(18),
  ReduceSumSquare: axesAt(18),
  Split: [
    { at: 13, form: toInput('split') },
    { at: 18, form: countedSplit },
  ],
  Softmax: [{ at: 13, form: flattened }],
  LogSoftmax: [{ at: 13, form: flattened }],
  Clip: [{ at: 11, form: clipInputs }],
  Pad: [{ at: 11, form: padInputs }],
  Slice: [{ at: 10, form: sliceInputs }],
  TopK: [{ at: 10, form: topKInputs }],
  Scatter: [{ at: 11, form: (node, { g }) => g.append({ ...node, op: 'ScatterElements' }) }],
};

/** Ops whose meaning changed in a way that has no rewrite here, with the opset of the change. */
const REFUSED: Readonly<Record<string, number>> = {
  Upsample: 10,
  Resize: 11,
  Scan: 9,
  BatchNormalization: 14,
  GroupNormalization: 21,
  GridSample: 20,
  DFT: 20,
};
const OLDEST = 7;

/**
 * Rewrites a model to opset `target`; a model of a later opset is returned unchanged.
 * @param shapes save nodes around Softmax, where given.
 * @throws WinnowError `invalid_graph` naming the node that cannot be rewritten.
 */
export function raiseOpset(model: Model, shapes?: Shapes, target = OPSET): Model {
  const from = model.opsets[''] ?? 0;
  if (from < OLDEST)
    throw new WinnowError('invalid_graph', { where: 'model', expected: `opset ${OLDEST} or later`, got: `${from}` });
  if (from >= target) return model;
  const rank = (value: string): number | undefined => shapes?.get(value)?.dims.length;
  const graph = raiseGraph(model.graph, { from, target, rank, outer: allNames(model.graph) });
  const irVersion = Math.max(model.irVersion, 9);
  return Object.freeze({ ...model, irVersion, opsets: { ...model.opsets, '': target }, graph });
}

interface Raise {
  readonly from: number;
  readonly target: number;
  readonly rank: Context['rank'];
  /** Names of the enclosing graphs, which a subgraph must not reuse. */
  readonly outer: ReadonlySet<string>;
}

function raiseGraph(graph: Graph, raise: Raise): Graph {
  let current = graph;
  const steps = new Set(Object.values(CHANGES).flatMap((changes) => changes.map((c) => c.at)));
  for (const at of [...steps].sort((a, b) => a - b))
    if (at > raise.from && at <= raise.target) current = applyForms(current, at, raise);
  return freezeGraph({ ...current, nodes: current.nodes.map((node) => raiseInside(refuse(node, raise), raise)) });
}

function applyForms(graph: Graph, at: number, { rank, outer }: Raise): Graph {
  const g = GraphBuilder.from(freezeGraph({ ...graph, nodes: [] }));
  for (const name of [...outer, ...allNames(graph)]) g.reserve(name);
  for (const node of graph.nodes) {
    const change = node.domain === '' ? CHANGES[node.op]?.find((c) => c.at === at) : undefined;
    if (change) change.form(node, { g, rank });
    else g.append(node);
  }
  return g.build();
}

function raiseInside(node: Node, raise: Raise): Node {
  const attrs: Record<string, Attribute> = {};
  for (const [name, a] of Object.entries(node.attrs))
    attrs[name] = a.kind === 'graph' ? { kind: 'graph', value: raiseGraph(a.value, raise) } : a;
  return freezeNode({ ...node, attrs });
}

function refuse(node: Node, { from, target }: Raise): Node {
  const at = node.domain === '' ? REFUSED[node.op] : undefined;
  if (at === undefined || from >= at || target < at) return node;
  const expected = `${node.op} of opset ${at} or later`;
  throw new WinnowError('invalid_graph', { where: `node ${nodeLabel(node)}`, expected, got: `opset ${from}` });
}
