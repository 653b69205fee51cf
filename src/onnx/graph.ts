import type { DataType } from './dtypes.ts';
import { numbers, type Tensor } from './tensor.ts';

/*
 * An ONNX model as frozen values, independent of protobuf. No function changes its arguments: a rewrite takes a graph and returns another
 * that shares the unchanged parts.
 */

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'graph'; readonly value: Graph }
  /** Inside a model function: the value comes from the calling node's attribute of this name. */
  | { readonly kind: 'reference'; readonly value: string };

export type Attributes = Readonly<Record<string, Attribute>>;

export interface Node {
  readonly op: string;
  /** '' is `ai.onnx`. */
  readonly domain: string;
  readonly name: string;
  /** '' is an input left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Attributes;
}

/** A size, a name of a size, or null where nothing is known. */
export type Dim = number | string | null;

export interface ValueInfo {
  readonly name: string;
  /** Absent: left to the engine (only outputs may leave it so). */
  readonly dtype?: DataType;
  /** Absent: even the rank is unknown. */
  readonly dims?: readonly Dim[];
  /** Sizes of an input in the probing batch, where they do not follow from batch and length. Not part of a file. */
  readonly probe?: readonly number[];
}

export interface Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly initializers: ReadonlyMap<string, Tensor>;
  readonly nodes: readonly Node[];
}

export interface ModelFunction {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Defaults of attributes the calling node may leave out. */
  readonly defaults: Attributes;
  readonly nodes: readonly Node[];
}

export interface Model {
  readonly irVersion: number;
  /** Domain → version. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly functions: readonly ModelFunction[];
  readonly graph: Graph;
}

export function freezeNode(node: Node): Node {
  Object.freeze(node.inputs);
  Object.freeze(node.outputs);
  Object.freeze(node.attrs);
  return Object.freeze(node);
}

export function freezeGraph(graph: Graph): Graph {
  for (const node of graph.nodes) freezeNode(node);
  Object.freeze(graph.inputs);
  Object.freeze(graph.outputs);
  Object.freeze(graph.nodes);
  return Object.freeze(graph);
}

/** Returns a model whose initializers are in memory: those of a folder's weights are read anew whenever their bytes are used. */
export function holdWeights(model: Model): Model {
  const initializers = new Map([...model.graph.initializers].map(([name, t]) => [name, Object.freeze({ ...t })]));
  return Object.freeze({ ...model, graph: freezeGraph({ ...model.graph, initializers }) });
}

/** Returns the node's name for errors, or op and first output where it has none. */
export const nodeLabel = (node: Node): string =>
  node.name !== '' ? node.name : `${node.op} → ${node.outputs[0] ?? ''}`;

/** Returns the op with its domain, as rule tables name it. */
export const opKey = (node: Node): string => (node.domain === '' ? node.op : `${node.domain}:${node.op}`);

export function attrNumber(node: Node, name: string, otherwise: number): number {
  const found = node.attrs[name];
  return found?.kind === 'int' || found?.kind === 'float' ? found.value : otherwise;
}

export function attrNumbers(node: Node, name: string): readonly number[] | undefined {
  const found = node.attrs[name];
  return found?.kind === 'ints' || found?.kind === 'floats' ? found.value : undefined;
}

export function attrString(node: Node, name: string, otherwise: string): string {
  const found = node.attrs[name];
  return found?.kind === 'string' ? found.value : otherwise;
}

/** Returns the graphs inside a node (branches of If, bodies of Loop and Scan). */
export const subgraphs = (node: Node): readonly Graph[] =>
  Object.values(node.attrs).flatMap((a) => (a.kind === 'graph' ? [a.value] : []));

/** Maps each value to the node that makes it. */
export const producers = (graph: Graph): ReadonlyMap<string, Node> =>
  new Map(graph.nodes.flatMap((node) => node.outputs.filter((o) => o !== '').map((o) => [o, node] as const)));

/** Returns the names that a subgraph reads from the graphs around it. */
export function captures(graph: Graph): readonly string[] {
  const own = new Set([...graph.inputs.map((i) => i.name), ...graph.initializers.keys()]);
  for (const node of graph.nodes) for (const output of node.outputs) own.add(output);
  const wanted = [...graph.nodes.flatMap(reads), ...graph.outputs.map((o) => o.name)];
  return [...new Set(wanted.filter((name) => !own.has(name)))];
}

/** Returns every value a node reads, captures of its subgraphs included. */
export const reads = (node: Node): readonly string[] => [
  ...node.inputs.filter((i) => i !== ''),
  ...subgraphs(node).flatMap(captures),
];

/** Maps each value to the nodes that read it; a node that reads it twice is listed once. */
export function consumers(graph: Graph): ReadonlyMap<string, readonly Node[]> {
  const found = new Map<string, Node[]>();
  for (const node of graph.nodes)
    for (const name of new Set(reads(node))) {
      const list = found.get(name);
      if (list) list.push(node);
      else found.set(name, [node]);
    }
  return found;
}

/** Returns every name in use in a graph and its subgraphs. */
export function allNames(graph: Graph): Set<string> {
  const names = new Set([...graph.initializers.keys(), ...graph.inputs.map((i) => i.name)]);
  for (const node of graph.nodes) {
    for (const name of [...node.inputs, ...node.outputs]) names.add(name);
    for (const inner of subgraphs(node)) for (const name of allNames(inner)) names.add(name);
  }
  return names;
}

/** Returns the numbers of an initializer, or undefined if the value is computed. */
export function constantNumbers(graph: Graph, name: string | undefined): readonly number[] | undefined {
  const found = name === undefined ? undefined : graph.initializers.get(name);
  return found === undefined ? undefined : numbers(found);
}

/** Renames what a node and its subgraphs read. Outputs of the node keep their names. */
export function renameReads(node: Node, rename: ReadonlyMap<string, string>): Node {
  const to = (name: string): string => rename.get(name) ?? name;
  const attrs: Record<string, Attribute> = {};
  for (const [key, a] of Object.entries(node.attrs))
    attrs[key] = a.kind === 'graph' ? { kind: 'graph', value: renameCaptures(a.value, rename) } : a;
  return freezeNode({ ...node, inputs: node.inputs.map(to), attrs });
}

function renameCaptures(graph: Graph, rename: ReadonlyMap<string, string>): Graph {
  const captured = new Set(captures(graph));
  const mine = new Map([...rename].filter(([from]) => captured.has(from)));
  if (mine.size === 0) return graph;
  const moved = graph.outputs.filter((o) => mine.has(o.name));
  // A captured value that is also an output keeps the output's name through an Identity.
  const bridges = moved.map((o) =>
    freezeNode({ op: 'Identity', domain: '', name: '', inputs: [mine.get(o.name)!], outputs: [o.name], attrs: {} }),
  );
  const inner = new Map([...mine].filter(([from]) => !moved.some((o) => o.name === from)));
  return freezeGraph({ ...graph, nodes: [...bridges, ...graph.nodes.map((n) => renameReads(n, inner))] });
}
