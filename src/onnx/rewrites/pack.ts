import { GraphBuilder } from '../builder.ts';
import { attrNumber, freezeNode, type Graph, type Node, reads } from '../graph.ts';
import type { Shapes } from '../probe.ts';
import { frontAxis } from '../tensor.ts';

/*
 * Computes what a model does to each token alone (linear layers, normalizations, activations) for the tokens that there are, and not for padding: a batch of
 * texts of any length has some [batch, length] places, of which a third is padding. Such values are packed, [1, tokens, width]; what mixes tokens (attention,
 * pooling) reads them unpacked. Nothing that a mask leaves out may reach the result, because an unpacked value holds the state of some token where padding
 * was.
 */

/** A packed graph. */
interface Packed {
  readonly graph: Graph;
  /** The indices by which values are packed and unpacked, for the gradient: each look-up is undone by the other. */
  readonly inverses: Inverses;
}

/** What undoes a Gather along the first axis that reads each row at most once: a Gather by these indices, multiplied by the factor. */
export interface Inverse {
  readonly indices: string;
  readonly factor?: string;
}

/** Inverses by the indices of the Gather that they undo. */
export type Inverses = ReadonlyMap<string, Inverse>;

const ELEMENTWISE: ReadonlySet<string> = new Set(
  'Abs Add Div Erf Exp Gelu Identity Max Min Mul Neg Pow Reciprocal Relu Sigmoid Softplus Sqrt Sub Sum Tanh Where'.split(
    ' ',
  ),
);
/** Ops that are worth packing their inputs for; others stay packed where an input is. */
const WORTH: ReadonlySet<string> = new Set(['MatMul', 'LayerNormalization']);
const REDUCTIONS: ReadonlySet<string> = new Set(['ReduceMean', 'ReduceSum']);

/** Finds the nodes that work on each token alone, and which of their inputs have tokens. */
class TokenWise {
  readonly #shapes: Shapes;
  /** Rows and tokens of a row in the probing batch. */
  readonly #sizes: readonly number[];
  /** Values that such nodes make. */
  readonly #made = new Set<string>();

  constructor(shapes: Shapes, mask: string) {
    this.#shapes = shapes;
    this.#sizes = shapes.get(mask)!.dims;
  }

  /** Returns the places of the inputs to pack; none where the node is not one of them. */
  inputsOf(node: Node): readonly number[] {
    const found = this.#find(node);
    if (found.length > 0) for (const output of node.outputs) if (output !== '') this.#made.add(output);
    return found;
  }

  #find(node: Node): readonly number[] {
    const { op, domain, inputs, outputs } = node;
    if (domain !== '' || !outputs.every((o) => o === '' || this.#hasTokens(o))) return [];
    const isMade = inputs.some((i) => this.#made.has(i));
    if (!isMade && !WORTH.has(op)) return [];
    if (ELEMENTWISE.has(op)) return this.#elementwise(node);
    if (!this.#packs(inputs[0]!)) return [];
    if (op === 'MatMul') return this.#rank(inputs[1]!) === 2 ? [0] : [];
    if (op === 'LayerNormalization') return frontAxis(attrNumber(node, 'axis', -1), 3) === 2 ? [0] : [];
    if (!REDUCTIONS.has(op) || attrNumber(node, 'keepdims', 1) !== 1) return [];
    const axes = this.#shapes.get(inputs[1] ?? '')?.value;
    return axes?.length === 1 && frontAxis(axes[0]!, 3) === 2 ? [0] : [];
  }

  #elementwise({ inputs }: Node): readonly number[] {
    const places: number[] = [];
    for (const [at, name] of inputs.entries()) {
      if (this.#packs(name)) places.push(at);
      else if (!(this.#rank(name) <= 1)) return [];
    }
    return places;
  }

  #rank(name: string): number {
    return this.#shapes.get(name)?.dims.length ?? Number.NaN;
  }

  #hasTokens(name: string): boolean {
    const found = this.#shapes.get(name);
    return (
      found?.dtype === 'float32' &&
      found.dims.length === 3 &&
      found.dims[0] === this.#sizes[0] &&
      found.dims[1] === this.#sizes[1]
    );
  }

  /** A column that no such node made may be a mask, by which padding is left out: it stays. */
  #packs(name: string): boolean {
    return this.#hasTokens(name) && (this.#made.has(name) || this.#shapes.get(name)!.dims[2]! > 1);
  }
}

/** Packs and unpacks values, each once. */
class Packer {
  readonly #g: GraphBuilder;
  readonly #mask: string;
  readonly #shapes: Shapes;
  readonly #packed = new Map<string, string>();
  /** Values that exist in their own form. */
  readonly #whole = new Set<string>();
  #indices: { readonly tokens: string; readonly places: string; readonly kept: string } | undefined;

  constructor(g: GraphBuilder, mask: string, shapes: Shapes) {
    this.#g = g;
    this.#mask = mask;
    this.#shapes = shapes;
  }

  /** Notes the packed form of a value that is made in that form. */
  note(value: string, packed: string): void {
    this.#packed.set(value, packed);
  }

  /** Places of the tokens in [batch · length]; for each place the number of its token, 0 for padding; 1 for tokens, 0 for padding. */
  get #places() {
    if (this.#indices) return this.#indices;
    const g = this.#g;
    const flat = g.cast(g.reshape(g.cast(this.#mask, 'bool'), [-1]), 'int64');
    const tokens = g.reshape(g.op('NonZero', [flat]), [-1]);
    const before = g.op('CumSum', [flat, g.scalar(0, 'int64')], { exclusive: 1 });
    const kept = g.unsqueeze(g.cast(flat, 'float32'), [1]);
    this.#indices = { tokens, places: g.mul(before, flat), kept };
    return this.#indices;
  }

  get inverses(): Inverses {
    if (!this.#indices) return new Map();
    const { tokens, places, kept } = this.#indices;
    // Padding has no gradient.
    return new Map<string, Inverse>([
      [tokens, { indices: places, factor: kept }],
      [places, { indices: tokens }],
    ]);
  }

  packed(value: string): string {
    const known = this.#packed.get(value);
    if (known !== undefined) return known;
    const g = this.#g;
    const rows = g.gather(g.reshape(value, [-1, this.#shapes.get(value)!.dims[2]!]), this.#places.tokens);
    const made = g.unsqueeze(rows, [0]);
    this.#whole.add(value);
    this.note(value, made);
    return made;
  }

  /** Makes a value that has a packed form alone, under its name; does nothing for others. */
  unpack(value: string): void {
    const packed = this.#packed.get(value);
    if (packed === undefined || this.#whole.has(value)) return;
    this.#whole.add(value);
    const g = this.#g;
    const rows = g.gather(g.squeeze(packed, [0]), this.#places.places);
    const shape = g.concat([g.shape(this.#mask), g.ints([this.#shapes.get(value)!.dims[2]!])], 0);
    const name = g.unique(`${value}.unpack`);
    g.append(freezeNode({ op: 'Reshape', domain: '', name, inputs: [rows, shape], outputs: [value], attrs: {} }));
  }
}

/**
 * Packs the values of a model in canonical form (`prepare`) that belong to single tokens. The graph is unchanged where there are none.
 * @param shapes of a probing batch (`probeShapes`). @param mask the value [batch, length] that is 0 for padding.
 */
export function packTokens(graph: Graph, shapes: Shapes, mask: string): Packed {
  const g = GraphBuilder.rewriting(graph);
  const tokenWise = new TokenWise(shapes, mask);
  const packer = new Packer(g, mask, shapes);
  for (const node of graph.nodes) {
    const places = new Set(tokenWise.inputsOf(node));
    if (places.size === 0) {
      for (const name of reads(node)) packer.unpack(name);
      g.append(node);
      continue;
    }
    const inputs = node.inputs.map((name, at) => (places.has(at) ? packer.packed(name) : name));
    const made = node.outputs.map((name) => (name === '' ? '' : g.unique(`${name}.packed`)));
    g.append(freezeNode({ ...node, inputs, outputs: made }));
    for (const [at, name] of node.outputs.entries()) if (name !== '') packer.note(name, made[at]!);
  }
  for (const { name } of graph.outputs) packer.unpack(name);
  return { graph: g.build(), inverses: packer.inverses };
}
