import { attrNumber, constantNumbers, consumers, type Graph, type Node, producers } from '../graph.ts';
import type { Shapes } from '../probe.ts';

/** Looks up what makes and reads the values of a graph, for rewrites that find a form of several nodes. */
export class Matcher {
  readonly graph: Graph;
  readonly #shapes: Shapes | undefined;
  readonly #made: ReadonlyMap<string, Node>;
  readonly #read: ReadonlyMap<string, readonly Node[]>;
  readonly #outputs: ReadonlySet<string>;

  constructor(graph: Graph, shapes?: Shapes) {
    this.graph = graph;
    this.#shapes = shapes;
    this.#made = producers(graph);
    this.#read = consumers(graph);
    this.#outputs = new Set(graph.outputs.map((o) => o.name));
  }

  /** Returns the node that makes `value` if it is of that op. */
  made(value: string | undefined, op: string, domain = ''): Node | undefined {
    const node = value === undefined ? undefined : this.#made.get(value);
    return node?.op === op && node.domain === domain ? node : undefined;
  }

  /** Returns the node that makes `value`, if a node does. */
  maker(value: string): Node | undefined {
    return this.#made.get(value);
  }

  /** Returns the only reader of `value` if it is of that op and `value` is no output of the graph. */
  onlyReader(value: string, op: string): Node | undefined {
    const [reader, ...others] = this.valueReaders(value);
    const alone = others.length === 0 && this.readers(value).length === 1;
    return alone && reader?.op === op ? reader : undefined;
  }

  readers(value: string): readonly Node[] {
    return this.#read.get(value) ?? [];
  }

  /** Returns the nodes that read the numbers of `value`, not its shape alone; none where the graph itself returns it. */
  valueReaders(value: string): readonly Node[] {
    return this.#outputs.has(value) ? [] : this.readers(value).filter((n) => n.op !== 'Shape');
  }

  /** Returns the sizes of `value` in the probing batch. */
  dims(value: string | undefined): readonly number[] | undefined {
    if (value === undefined) return undefined;
    return this.graph.initializers.get(value)?.dims ?? this.#shapes?.get(value)?.dims;
  }

  /** Returns the number of a constant with one element. */
  scalar(value: string | undefined): number | undefined {
    const found = constantNumbers(this.graph, value);
    return found?.length === 1 ? found[0] : undefined;
  }

  isNear(value: string | undefined, wanted: number): boolean {
    const found = this.scalar(value);
    return found !== undefined && Math.abs(found - wanted) <= 1e-3 * Math.abs(wanted);
  }

  /** Returns the other input of a node with two. */
  other(node: Node, value: string): string | undefined {
    return node.inputs[0] === value ? node.inputs[1] : node.inputs[1] === value ? node.inputs[0] : undefined;
  }

  /** Whether `node` is a mean over the last axis that keeps it. Axes are a constant input (the form from opset 18). */
  isLastMean(node: Node | undefined): boolean {
    const axes = constantNumbers(this.graph, node?.inputs[1]);
    if (node === undefined || axes?.length !== 1 || attrNumber(node, 'keepdims', 1) !== 1) return false;
    const rank = this.#shapes?.get(node.inputs[0]!)?.dims.length;
    return axes[0] === -1 || (rank !== undefined && axes[0] === rank - 1);
  }
}
