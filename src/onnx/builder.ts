/*
 * Builds graphs by name. Every method returns the name of the value it makes. Names are unique; equal constants are stored once.
 *
 *   const g = GraphBuilder.from(model.graph);            // or new GraphBuilder('name')
 *   const labels = g.input('labels', 'float32', ['batch', 1]);
 *   const loss = g.reduceMean(g.op('Softplus', [g.mul(g.neg(labels), 'logits')]), [0, 1], false);
 *   g.output(loss, 'float32', [], 'loss');                // 'loss' is the public name
 *   const graph = g.build();                             // frozen
 *
 * `op(name, inputs, attrs, options)` makes a node with one output, `ops(..., count)` one with several. Numeric attributes become integers,
 * those in FLOAT_ATTRIBUTES floats. Forms are those of opset 18 to 23 (axes are inputs of Squeeze, Unsqueeze, Reduce*).
 * `matmul(a, b, { transA, transB, alpha })` uses `com.microsoft.FusedMatMul` for float32.
 */
import { WinnowError } from '../errors.ts';
import type { DataType } from './dtypes.ts';
import { DATA_TYPES } from './dtypes.ts';
import {
  type Attribute,
  allNames,
  type Dim,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type Node,
} from './graph.ts';
import { int64s, type Tensor, tensor } from './tensor.ts';

/** Opset of the graphs this builder writes, unless the model has a later one. */
export const OPSET = 20;
export const MICROSOFT = 'com.microsoft';

const FLOAT_ATTRIBUTES: ReadonlySet<string> = new Set([
  'alpha',
  'beta',
  'bias',
  'epsilon',
  'gamma',
  'high',
  'lambd',
  'low',
  'mean',
  'ratio',
  'scale',
  'softcap',
  'value_float',
]);

export type AttributeLike = Attribute | number | string | readonly number[] | Tensor | Graph;

interface NodeOptions {
  readonly domain?: string;
  /** Stem of node and value names. */
  readonly name?: string;
}

export interface MatMulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
  /** Element type; anything but float32 is written with plain Transpose, MatMul, Mul. */
  readonly dtype?: DataType;
  /** Ranks of the operands, needed where transposes are nodes of their own. */
  readonly rankA?: number;
  readonly rankB?: number;
}

export class GraphBuilder {
  readonly #name: string;
  readonly #inputs: Graph['inputs'][number][] = [];
  readonly #outputs: Graph['outputs'][number][] = [];
  readonly #initializers = new Map<string, Tensor>();
  readonly #nodes: Node[] = [];
  readonly #names = new Set<string>(['']);
  readonly #constants = new Map<string, string>();
  #counter = 0;

  constructor(name = 'graph') {
    this.#name = name;
  }

  /** Starts from a graph: its inputs, initializers, nodes and, unless `outputs` is false, outputs. */
  static from(graph: Graph, options: { readonly outputs?: boolean } = {}): GraphBuilder {
    const g = new GraphBuilder(graph.name);
    g.#inputs.push(...graph.inputs);
    if (options.outputs !== false) g.#outputs.push(...graph.outputs);
    for (const [name, value] of graph.initializers) g.#initializers.set(name, value);
    g.#nodes.push(...graph.nodes);
    for (const name of [...allNames(graph), ...graph.nodes.map((n) => n.name)]) g.#names.add(name);
    return g;
  }

  /** Starts from a graph without its nodes, whose names stay reserved: for rewrites that append nodes one by one. */
  static rewriting(graph: Graph, options: { readonly outputs?: boolean } = {}): GraphBuilder {
    const g = GraphBuilder.from({ ...graph, nodes: [] }, options);
    for (const node of graph.nodes) for (const name of [node.name, ...node.outputs]) g.reserve(name);
    return g;
  }

  /** Returns `stem`, or `stem_2` and so on where it is taken, and reserves the name. */
  unique(stem: string): string {
    let name = stem;
    for (let i = 2; this.#names.has(name); i++) name = `${stem}_${i}`;
    this.#names.add(name);
    return name;
  }

  /** Reserves the name of a node that is appended later. */
  reserve(name: string): void {
    this.#names.add(name);
  }

  /** Adds an input. @param probe sizes in the probing batch, where they do not follow from batch and length. */
  input(name: string, dtype: DataType, dims: readonly Dim[], probe?: readonly number[]): string {
    this.#claim(name);
    this.#inputs.push({ name, dtype, dims, ...(probe && { probe }) });
    return name;
  }

  /** Makes `value` an output of the graph, under the name `as` (by an Identity) if given. Returns the output's name. */
  output(value: string, dtype?: DataType, dims?: readonly Dim[], as?: string): string {
    const name = as === undefined || as === value ? value : this.#identity(value, as);
    this.#outputs.push({ name, ...(dtype && { dtype }), ...(dims && { dims }) });
    return name;
  }

  initializer(name: string, value: Tensor): string {
    this.#claim(name);
    this.#initializers.set(name, value);
    return name;
  }

  /** Adds a constant; small ones that are equal become one initializer. */
  constant(value: Tensor, stem = 'const'): string {
    const small = value.bytes.byteLength <= 4096;
    const key = small ? `${value.dtype}[${value.dims}]${Buffer.from(value.bytes).toString('base64')}` : '';
    const known = small ? this.#constants.get(key) : undefined;
    if (known !== undefined) return known;
    const name = this.unique(stem);
    this.#initializers.set(name, value);
    if (small) this.#constants.set(key, name);
    return name;
  }

  scalar(value: number, dtype: DataType = 'float32'): string {
    return this.constant(tensor(dtype, [], [value]));
  }

  /** Adds a vector of int64. */
  ints(values: readonly number[]): string {
    return this.constant(int64s(values), 'ints');
  }

  /** Appends a node with one output and returns the output's name. */
  op(
    op: string,
    inputs: readonly string[],
    attrs: Readonly<Record<string, AttributeLike>> = {},
    options: NodeOptions = {},
  ): string {
    return this.ops(op, inputs, attrs, 1, options)[0]!;
  }

  /** Appends a node with `count` outputs and returns their names. */
  ops(
    op: string,
    inputs: readonly string[],
    attrs: Readonly<Record<string, AttributeLike>>,
    count: number,
    options: NodeOptions = {},
  ): readonly string[] {
    const stem = this.unique(options.name ?? `${op}_w${this.#counter++}`);
    const outputs = Array.from({ length: count }, (_, i) =>
      this.unique(count === 1 ? `${stem}_out` : `${stem}_out${i}`),
    );
    this.append({ op, domain: options.domain ?? '', name: stem, inputs, outputs, attrs: toAttributes(attrs) });
    return outputs;
  }

  /** Appends a node unchanged. Its output names must be new or reserved by `unique`. */
  append(node: Node): void {
    for (const output of node.outputs) this.#names.add(output);
    this.#nodes.push(freezeNode(node));
  }

  // Arithmetic, with broadcasting as in NumPy.
  readonly add = (a: string, b: string): string => this.op('Add', [a, b]);
  readonly sub = (a: string, b: string): string => this.op('Sub', [a, b]);
  readonly mul = (a: string, b: string): string => this.op('Mul', [a, b]);
  readonly div = (a: string, b: string): string => this.op('Div', [a, b]);
  readonly neg = (x: string): string => this.op('Neg', [x]);
  readonly exp = (x: string): string => this.op('Exp', [x]);
  readonly log = (x: string): string => this.op('Log', [x]);
  readonly sqrt = (x: string): string => this.op('Sqrt', [x]);
  readonly sigmoid = (x: string): string => this.op('Sigmoid', [x]);
  readonly softplus = (x: string): string => this.op('Softplus', [x]);
  readonly relu = (x: string): string => this.op('Relu', [x]);
  readonly equal = (a: string, b: string): string => this.op('Equal', [a, b]);
  readonly greater = (a: string, b: string): string => this.op('Greater', [a, b]);
  readonly less = (a: string, b: string): string => this.op('Less', [a, b]);
  readonly where = (condition: string, yes: string, no: string): string => this.op('Where', [condition, yes, no]);
  readonly softmax = (x: string, axis = -1): string => this.op('Softmax', [x], { axis });
  readonly logSoftmax = (x: string, axis = -1): string => this.op('LogSoftmax', [x], { axis });

  // Shapes.
  readonly shape = (x: string): string => this.op('Shape', [x]);
  readonly transpose = (x: string, perm: readonly number[]): string => this.op('Transpose', [x], { perm });
  readonly unsqueeze = (x: string, axes: readonly number[]): string => this.op('Unsqueeze', [x, this.ints(axes)]);
  readonly squeeze = (x: string, axes: readonly number[]): string => this.op('Squeeze', [x, this.ints(axes)]);
  readonly concat = (parts: readonly string[], axis: number): string => this.op('Concat', parts, { axis });
  readonly gather = (x: string, indices: string, axis = 0): string => this.op('Gather', [x, indices], { axis });

  /** Reshapes to numbers (-1 infers, 0 copies) or to the int64 vector of that name. */
  reshape(x: string, dims: readonly number[] | string): string {
    return this.op('Reshape', [x, typeof dims === 'string' ? dims : this.ints(dims)]);
  }

  expand(x: string, dims: readonly number[] | string): string {
    return this.op('Expand', [x, typeof dims === 'string' ? dims : this.ints(dims)]);
  }

  cast(x: string, dtype: DataType): string {
    return this.op('Cast', [x], { to: DATA_TYPES[dtype].code });
  }

  slice(x: string, starts: readonly number[], ends: readonly number[], axes: readonly number[]): string {
    return this.op('Slice', [x, this.ints(starts), this.ints(ends), this.ints(axes)]);
  }

  /** Sums over the axes, over all of them if absent. */
  reduceSum(x: string, axes?: readonly number[], keep = true): string {
    return this.#reduce('ReduceSum', x, axes, keep);
  }

  reduceMean(x: string, axes?: readonly number[], keep = true): string {
    return this.#reduce('ReduceMean', x, axes, keep);
  }

  reduceMax(x: string, axes?: readonly number[], keep = true): string {
    return this.#reduce('ReduceMax', x, axes, keep);
  }

  /** Returns alpha · a′ · b′, where ′ transposes the last two axes if the option says so. */
  matmul(a: string, b: string, options: MatMulOptions = {}): string {
    const { transA = false, transB = false, alpha = 1, dtype = 'float32' } = options;
    if (!transA && !transB && alpha === 1) return this.op('MatMul', [a, b]);
    if (dtype === 'float32')
      return this.op('FusedMatMul', [a, b], { transA: +transA, transB: +transB, alpha }, { domain: MICROSOFT });
    const left = transA ? this.transpose(a, swapLast(options.rankA ?? 2)) : a;
    const right = transB ? this.transpose(b, swapLast(options.rankB ?? 2)) : b;
    const product = this.op('MatMul', [left, right]);
    return alpha === 1 ? product : this.mul(product, this.scalar(alpha, dtype));
  }

  build(): Graph {
    return freezeGraph({
      name: this.#name,
      inputs: [...this.#inputs],
      outputs: [...this.#outputs],
      initializers: new Map(this.#initializers),
      nodes: [...this.#nodes],
    });
  }

  #reduce(op: string, x: string, axes: readonly number[] | undefined, keep: boolean): string {
    return this.op(op, axes === undefined ? [x] : [x, this.ints(axes)], { keepdims: +keep });
  }

  #identity(value: string, as: string): string {
    this.#claim(as);
    this.append({ op: 'Identity', domain: '', name: as, inputs: [value], outputs: [as], attrs: {} });
    return as;
  }

  #claim(name: string): void {
    if (this.#names.has(name))
      throw new WinnowError('invalid_graph', { where: 'graph builder', expected: 'a new value name', got: name });
    this.#names.add(name);
  }
}

const swapLast = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];

function toAttribute(name: string, value: AttributeLike): Attribute {
  if (typeof value === 'string') return { kind: 'string', value };
  if (typeof value === 'number') return { kind: FLOAT_ATTRIBUTES.has(name) ? 'float' : 'int', value };
  if (Array.isArray(value)) return { kind: 'ints', value: value as readonly number[] };
  if ('kind' in value) return value;
  return 'nodes' in value ? { kind: 'graph', value } : { kind: 'tensor', value: value as Tensor };
}

const toAttributes = (attrs: Readonly<Record<string, AttributeLike>>): Readonly<Record<string, Attribute>> =>
  Object.fromEntries(Object.entries(attrs).map(([name, value]) => [name, toAttribute(name, value)]));

/** Wraps a graph of this builder in a model of IR version 10, which ONNX Runtime reads since 2024. */
export function modelOf(graph: Graph, opset = OPSET): Model {
  const opsets = { '': opset, [MICROSOFT]: 1 };
  return Object.freeze({ irVersion: 10, opsets, producer: 'winnow', metadata: {}, functions: [], graph });
}
