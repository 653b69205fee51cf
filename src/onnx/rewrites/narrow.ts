import { GraphBuilder } from '../builder.ts';
import { attrNumber, constantNumbers, freezeNode, type Graph, type Model, type Node, reads } from '../graph.ts';
import { prune } from '../order.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { frontAxis } from '../tensor.ts';
import { type Cut, type InputCuts, inputCuts } from './narrow-axes.ts';

/*
 * A classifier that reads the first token alone needs no other token's state of the last layer: the query, the attention row, the output
 * layer and the feed-forward part are computed for one token instead of all; keys and values still for all. The result is the same, and
 * 10/12 of the last layer's matrix products are gone, forwards and backwards.
 */

const END = Number.MAX_SAFE_INTEGER;

const sameCut = (a: Cut, b: Cut): boolean => a.axis === b.axis && a.index === b.index;

/** Where a node takes one position of its input: a Gather of one constant index, or a Slice of length one. */
function selection(graph: Graph, shapes: Shapes, node: Node): Cut | undefined {
  if (node.domain !== '') return undefined;
  const dims = shapes.get(node.inputs[0] ?? '')?.dims;
  if (dims === undefined) return undefined;
  const at = (axis: number, index: number): Cut | undefined => {
    const cut = { axis: frontAxis(axis, dims.length), index };
    return dims[cut.axis]! > 1 ? cut : undefined;
  };
  const [second, third, fourth, fifth] = [1, 2, 3, 4].map((i) => constantNumbers(graph, node.inputs[i] || undefined));
  if (node.op === 'Gather') return second?.length === 1 ? at(attrNumber(node, 'axis', 0), second[0]!) : undefined;
  if (node.op !== 'Slice' || second?.length !== 1 || third?.length !== 1) return undefined;
  const one = third[0] === second[0]! + 1 || (second[0] === -1 && third[0]! > 1 << 30);
  const step = node.inputs[4] ? fifth?.[0] : 1;
  const axis = node.inputs[3] ? fourth?.[0] : 0;
  return one && third[0] !== 0 && step === 1 && axis !== undefined ? at(axis, second[0]!) : undefined;
}

const isShape = (node: Node): boolean =>
  node.op === 'Shape' && node.domain === '' && Object.keys(node.attrs).length === 0;

/** An input of the graph with an axis as long as the cut one, so that `Shape` of a narrowed value can still be told. */
function lengthSource(graph: Graph, shapes: Shapes, length: number): readonly [string, number] | undefined {
  for (const { name } of graph.inputs) {
    const axis = shapes.get(name)?.dims.indexOf(length, 1) ?? -1;
    if (axis > 0) return [name, axis];
  }
  return undefined;
}

/** What the readers seen so far want of every value. `Shape` wants no position, but must still be able to tell how many there were. */
class Demand {
  readonly #wanted = new Map<string, Cut | 'all'>();
  readonly #measured: ReadonlySet<string>;
  readonly #canTell: (value: string, cut: Cut) => boolean;

  constructor(graph: Graph, shapes: Shapes) {
    for (const { name } of graph.outputs) this.want(name, 'all');
    this.#measured = new Set(graph.nodes.filter(isShape).map((n) => n.inputs[0]!));
    this.#canTell = (value, { axis }) => lengthSource(graph, shapes, shapes.get(value)!.dims[axis]!) !== undefined;
  }

  want(value: string, part: Cut | 'all'): void {
    const before = this.#wanted.get(value);
    const agrees = before === undefined || (before !== 'all' && part !== 'all' && sameCut(before, part));
    this.#wanted.set(value, agrees ? part : 'all');
  }

  /** The one position that all readers of all outputs want. */
  onePosition({ outputs }: Node): Cut | undefined {
    const read = outputs.filter((o) => this.#wanted.has(o) || this.#measured.has(o));
    const [first, ...others] = read.map((o) => this.#wanted.get(o) ?? 'all');
    if (first === undefined || first === 'all') return undefined;
    if (others.some((other) => other === 'all' || !sameCut(other, first))) return undefined;
    return read.every((o) => !this.#measured.has(o) || this.#canTell(o, first)) ? first : undefined;
  }
}

interface Plan {
  /** Nodes computed for one position, and what they read. */
  readonly narrowed: ReadonlyMap<Node, InputCuts>;
  /** Values of which only one position is made. */
  readonly small: ReadonlyMap<string, Cut>;
}

/** Goes from the outputs up: a node is narrowed if all its readers want the same one position of it. */
function plan(graph: Graph, shapes: Shapes): Plan {
  const demand = new Demand(graph, shapes);
  const narrowed = new Map<Node, InputCuts>();
  const small = new Map<string, Cut>();
  for (const node of graph.nodes.toReversed()) {
    if (isShape(node)) continue;
    const cut = demand.onePosition(node);
    const cuts = cut && inputCuts(graph, shapes, node, cut);
    if (cut && cuts) {
      narrowed.set(node, cuts);
      for (const made of node.outputs) if (made !== '') small.set(made, cut);
    }
    const chosen = cuts ? undefined : selection(graph, shapes, node);
    for (const [i, value] of node.inputs.entries())
      if (value !== '') demand.want(value, cuts?.[i] ?? (chosen && i === 0 ? chosen : 'all'));
    for (const captured of reads(node)) if (!node.inputs.includes(captured)) demand.want(captured, 'all');
  }
  return { narrowed, small };
}

class Narrower {
  readonly #graph: Graph;
  readonly #shapes: Shapes;
  readonly #plan: Plan;
  readonly #g: GraphBuilder;
  readonly #parts = new Map<string, string>();

  constructor(graph: Graph, shapes: Shapes, plan: Plan) {
    this.#graph = graph;
    this.#shapes = shapes;
    this.#plan = plan;
    this.#g = GraphBuilder.rewriting(graph);
  }

  run(): Graph {
    for (const node of this.#graph.nodes) this.#g.append(this.#rewritten(node));
    return prune(this.#g.build());
  }

  #rewritten(node: Node): Node {
    const cuts = this.#plan.narrowed.get(node);
    if (cuts) {
      const inputs = node.inputs.map((value, i) => (cuts[i] ? this.#part(value, cuts[i]) : value));
      if (node.op === 'Reshape') inputs[1] = this.#withOne(inputs[1]!, this.#plan.small.get(node.outputs[0]!)!.axis);
      return freezeNode({ ...node, inputs });
    }
    const x = node.inputs[0] ?? '';
    const small = this.#plan.small.get(x);
    if (small === undefined) return node;
    return isShape(node) ? this.#fullShape(node, small) : this.#onlyPosition(node);
  }

  /** One position of a value, its axis kept. */
  #part(value: string, { axis, index }: Cut): string {
    if (this.#plan.small.has(value)) return value;
    const key = `${value} ${axis} ${index}`;
    const known = this.#parts.get(key) ?? this.#g.slice(value, [index], [index === -1 ? END : index + 1], [axis]);
    this.#parts.set(key, known);
    return known;
  }

  /** A selection from a value that has one position left. */
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

  /** `Shape` as if the value were whole. */
  #fullShape(node: Node, { axis }: Cut): Node {
    const [source, at] = lengthSource(this.#graph, this.#shapes, this.#shapes.get(node.inputs[0]!)!.dims[axis]!)!;
    const length = this.#g.slice(this.#g.shape(source), [at], [at + 1], [0]);
    const whole = this.#g.shape(node.inputs[0]!);
    const attrs = { axis: { kind: 'int', value: 0 } } as const;
    return freezeNode({ ...node, op: 'Concat', inputs: this.#replaced(whole, axis, length), attrs });
  }
}

/**
 * The graph without the positions nobody reads: where all readers of a value take one position of one axis (a Gather or Slice of length one
 * behind it), it and what leads to it are computed for that position alone, up to nodes that mix positions. Values keep their names; those
 * in between lose positions. Scores are those of the whole graph, to the last bits of their sums.
 *
 * @param shapes of every value, from a probing batch
 */
export function narrow(graph: Graph, shapes: Shapes): Graph {
  const found = plan(graph, shapes);
  return found.narrowed.size === 0 ? graph : new Narrower(graph, shapes, found).run();
}

/** `narrow` for a model with its constants as initializers (see `prepare`), probed here. */
export async function narrowModel(model: Model): Promise<Model> {
  const graph = narrow(model.graph, await probeShapes(model));
  return graph === model.graph ? model : Object.freeze({ ...model, graph });
}
