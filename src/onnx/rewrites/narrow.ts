import { GraphBuilder } from '../builder.ts';
import { attrNumber, constantNumbers, freezeNode, type Graph, type Model, type Node, reads } from '../graph.ts';
import { prune } from '../order.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { frontAxis } from '../tensor.ts';
import { type Cut, type InputCuts, inputCuts } from './narrow-axes.ts';

/*
 * A classifier that reads the first token only needs no other token's state of the last layer. Queries, the attention row, the output layer
 * and the feed-forward part are computed for one token instead of all; keys and values still for all. This saves 10/12 of the last layer's
 * matrix products in both passes, with the same result.
 */

const END = Number.MAX_SAFE_INTEGER;

const sameCut = (a: Cut, b: Cut): boolean => a.axis === b.axis && a.index === b.index;

/** Returns the one position a node takes of its input, if it is a Gather of one constant index or a Slice of length one. */
function selection(graph: Graph, shapes: Shapes, node: Node): Cut | undefined {
  if (node.domain !== '' || (node.op !== 'Gather' && node.op !== 'Slice')) return undefined;
  const dims = shapes.get(node.inputs[0] ?? '')?.dims;
  if (dims === undefined) return undefined;
  const at = (axis: number, index: number): Cut | undefined => {
    const cut = { axis: frontAxis(axis, dims.length), index };
    return dims[cut.axis]! > 1 ? cut : undefined;
  };
  const [second, third, fourth, fifth] = [1, 2, 3, 4].map((i) => constantNumbers(graph, node.inputs[i] || undefined));
  if (node.op === 'Gather') return second?.length === 1 ? at(attrNumber(node, 'axis', 0), second[0]!) : undefined;
  if (second?.length !== 1 || third?.length !== 1) return undefined;
  const one = third[0] === second[0]! + 1 || (second[0] === -1 && third[0]! > 1 << 30);
  const step = node.inputs[4] ? fifth?.[0] : 1;
  const axis = node.inputs[3] ? fourth?.[0] : 0;
  return one && third[0] !== 0 && step === 1 && axis !== undefined ? at(axis, second[0]!) : undefined;
}

const isShape = (node: Node): boolean =>
  node.op === 'Shape' && node.domain === '' && Object.keys(node.attrs).length === 0;

/** Finds an input of the graph with an axis as long as the cut one, from which `Shape` of the narrowed value is computed. */
function lengthSource(graph: Graph, shapes: Shapes, length: number): readonly [string, number] | undefined {
  for (const { name } of graph.inputs) {
    const axis = shapes.get(name)?.dims.indexOf(length, 1) ?? -1;
    if (axis > 0) return [name, axis];
  }
  return undefined;
}

/** What the readers seen so far need of every value. `Shape` needs no position, but the original number of positions. */
class Demand {
  readonly #needed = new Map<string, Cut | 'all'>();
  readonly #measured: ReadonlySet<string>;
  readonly #hasLength: (value: string, cut: Cut) => boolean;

  constructor(graph: Graph, shapes: Shapes) {
    for (const { name } of graph.outputs) this.add(name, 'all');
    this.#measured = new Set(graph.nodes.filter(isShape).map((n) => n.inputs[0]!));
    this.#hasLength = (value, { axis }) => lengthSource(graph, shapes, shapes.get(value)!.dims[axis]!) !== undefined;
  }

  add(value: string, part: Cut | 'all'): void {
    const before = this.#needed.get(value);
    const agrees = before === undefined || (before !== 'all' && part !== 'all' && sameCut(before, part));
    this.#needed.set(value, agrees ? part : 'all');
  }

  /** Returns the one position that all readers of all outputs need, if there is one. */
  onePosition({ outputs }: Node): Cut | undefined {
    const read = outputs.filter((o) => this.#needed.has(o) || this.#measured.has(o));
    const [first, ...others] = read.map((o) => this.#needed.get(o) ?? 'all');
    if (first === undefined || first === 'all') return undefined;
    if (others.some((other) => other === 'all' || !sameCut(other, first))) return undefined;
    return read.every((o) => !this.#measured.has(o) || this.#hasLength(o, first)) ? first : undefined;
  }
}

interface Cuts {
  /** Nodes computed for one position, and what they read. */
  readonly nodes: ReadonlyMap<Node, InputCuts>;
  /** Values of which only one position is computed. */
  readonly values: ReadonlyMap<string, Cut>;
}

/** Finds the nodes to narrow, from the outputs upward: those of which all readers need the same one position. */
function findCuts(graph: Graph, shapes: Shapes): Cuts {
  const demand = new Demand(graph, shapes);
  const nodes = new Map<Node, InputCuts>();
  const values = new Map<string, Cut>();
  for (const node of graph.nodes.toReversed()) {
    if (isShape(node)) continue;
    const cut = demand.onePosition(node);
    const cuts = cut && inputCuts(graph, shapes, node, cut);
    if (cut && cuts) {
      nodes.set(node, cuts);
      for (const made of node.outputs) if (made !== '') values.set(made, cut);
    }
    const chosen = cuts ? undefined : selection(graph, shapes, node);
    for (const [i, value] of node.inputs.entries())
      if (value !== '') demand.add(value, cuts?.[i] ?? (chosen && i === 0 ? chosen : 'all'));
    for (const captured of reads(node)) if (!node.inputs.includes(captured)) demand.add(captured, 'all');
  }
  return { nodes, values };
}

/** Rewrites a graph by the cuts that were found. */
class Narrower {
  readonly #graph: Graph;
  readonly #shapes: Shapes;
  readonly #cuts: Cuts;
  readonly #g: GraphBuilder;
  readonly #parts = new Map<string, string>();

  constructor(graph: Graph, shapes: Shapes, cuts: Cuts) {
    this.#graph = graph;
    this.#shapes = shapes;
    this.#cuts = cuts;
    this.#g = GraphBuilder.rewriting(graph);
  }

  run(): Graph {
    for (const node of this.#graph.nodes) this.#g.append(this.#rewritten(node));
    return prune(this.#g.build());
  }

  #rewritten(node: Node): Node {
    const cuts = this.#cuts.nodes.get(node);
    if (cuts) {
      const inputs = node.inputs.map((value, i) => (cuts[i] ? this.#part(value, cuts[i]) : value));
      if (node.op === 'Reshape') inputs[1] = this.#withOne(inputs[1]!, this.#cuts.values.get(node.outputs[0]!)!.axis);
      return freezeNode({ ...node, inputs });
    }
    const x = node.inputs[0] ?? '';
    const small = this.#cuts.values.get(x);
    if (small === undefined) return node;
    return isShape(node) ? this.#fullShape(node, small) : this.#onlyPosition(node);
  }

  /** Returns one position of a value with its axis kept. */
  #part(value: string, { axis, index }: Cut): string {
    if (this.#cuts.values.has(value)) return value;
    const key = `${value} ${axis} ${index}`;
    const known = this.#parts.get(key) ?? this.#g.slice(value, [index], [index === -1 ? END : index + 1], [axis]);
    this.#parts.set(key, known);
    return known;
  }

  /** Rewrites a selection from a value that has one position left. */
  #onlyPosition(node: Node): Node {
    const [x, index, , ...rest] = node.inputs as [string, string];
    const g = this.#g;
    if (node.op === 'Slice') return freezeNode({ ...node, inputs: [x, g.ints([0]), g.ints([1]), ...rest] });
    const dims = this.#shapes.get(index)!.dims;
    return freezeNode({ ...node, inputs: [x, dims.length === 0 ? g.scalar(0, 'int64') : g.ints([0])] });
  }

  #replaced(vector: string, axis: number, by: string): readonly string[] {
    const before = axis > 0 ? [this.#g.slice(vector, [0], [axis], [0])] : [];
    return [...before, by, this.#g.slice(vector, [axis + 1], [END], [0])];
  }

  #withOne(shape: string, axis: number): string {
    const known = constantNumbers(this.#graph, shape);
    if (known) return this.#g.ints(known.with(axis, 1));
    return this.#g.concat(this.#replaced(shape, axis, this.#g.ints([1])), 0);
  }

  /** Rewrites `Shape` to give the shape of the whole value. */
  #fullShape(node: Node, { axis }: Cut): Node {
    const [source, at] = lengthSource(this.#graph, this.#shapes, this.#shapes.get(node.inputs[0]!)!.dims[axis]!)!;
    const length = this.#g.slice(this.#g.shape(source), [at], [at + 1], [0]);
    const whole = this.#g.shape(node.inputs[0]!);
    const attrs = { axis: { kind: 'int', value: 0 } } as const;
    return freezeNode({ ...node, op: 'Concat', inputs: this.#replaced(whole, axis, length), attrs });
  }
}

/**
 * Removes positions that no node reads: where all readers of a value take one position of one axis (by Gather or Slice of length one), the
 * value is computed for that position alone, and so is what leads to it, up to nodes that mix positions. Values keep their names. Scores
 * equal those of the whole graph except for the rounding of sums.
 * @param shapes of every value, from a probing batch.
 */
export function narrow(graph: Graph, shapes: Shapes): Graph {
  const cuts = findCuts(graph, shapes);
  return cuts.nodes.size === 0 ? graph : new Narrower(graph, shapes, cuts).run();
}

/** Narrows a model whose constants are initializers (see `prepare`); probes the shapes. */
export async function narrowModel(model: Model): Promise<Model> {
  const graph = narrow(model.graph, await probeShapes(model));
  return graph === model.graph ? model : Object.freeze({ ...model, graph });
}
