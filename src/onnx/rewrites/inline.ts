import { WinnowError } from '../../errors.ts';
import {
  type Attribute,
  type Attributes,
  allNames,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type ModelFunction,
  type Node,
  nodeLabel,
  renameReads,
} from '../graph.ts';
import { type Tensor, tensor } from '../tensor.ts';

const functionKey = (domain: string, name: string): string => `${domain}:${name}`;

/** Replaces calls of model functions by their bodies, calls inside bodies included. */
export function inlineFunctions(model: Model): Model {
  if (model.functions.length === 0) return model;
  const functions = new Map(model.functions.map((f) => [functionKey(f.domain, f.name), f]));
  const names = allNames(model.graph);
  const fresh = (stem: string): string => {
    let name = stem;
    for (let i = 2; names.has(name); i++) name = `${stem}_${i}`;
    names.add(name);
    return name;
  };
  const expand = (node: Node, depth: number): readonly Node[] => {
    const called = functions.get(functionKey(node.domain, node.op));
    if (called === undefined) return [node];
    if (depth > 32)
      throw new WinnowError('invalid_graph', {
        where: `node ${nodeLabel(node)}`,
        expected: 'functions without recursion',
        got: called.name,
      });
    return callBody(called, node, fresh).flatMap((n) => expand(n, depth + 1));
  };
  const graph = freezeGraph({ ...model.graph, nodes: model.graph.nodes.flatMap((n) => expand(n, 0)) });
  return Object.freeze({ ...model, functions: [], graph });
}

function callBody(called: ModelFunction, call: Node, fresh: (stem: string) => string): readonly Node[] {
  const rename = new Map<string, string>();
  for (const [i, formal] of called.inputs.entries()) rename.set(formal, call.inputs[i] ?? '');
  for (const [i, formal] of called.outputs.entries())
    rename.set(formal, call.outputs[i] || fresh(`${nodeLabel(call)}.${formal}`));
  const name = (value: string): string => {
    if (value === '') return '';
    if (!rename.has(value)) rename.set(value, fresh(`${nodeLabel(call)}.${value}`));
    return rename.get(value)!;
  };
  return called.nodes.map((n) => {
    const outputs = n.outputs.map(name);
    const attrs = bindAttributes(n.attrs, { ...called.defaults, ...call.attrs });
    const bound = renameReads(freezeNode({ ...n, attrs }), new Map(n.inputs.map((i) => [i, name(i)])));
    return freezeNode({ ...bound, name: `${call.name}/${n.name}`, outputs });
  });
}

function bindAttributes(attrs: Attributes, given: Attributes): Attributes {
  const bound: Record<string, Attribute> = {};
  for (const [key, a] of Object.entries(attrs)) {
    const value = a.kind === 'reference' ? given[a.value] : a;
    if (value !== undefined) bound[key] = value;
  }
  return bound;
}

const CONSTANT_FORMS: Readonly<Record<string, (a: Attribute) => Tensor | undefined>> = {
  value: (a) => (a.kind === 'tensor' ? a.value : undefined),
  value_float: (a) => (a.kind === 'float' ? tensor('float32', [], [a.value]) : undefined),
  value_int: (a) => (a.kind === 'int' ? tensor('int64', [], [a.value]) : undefined),
  value_floats: (a) => (a.kind === 'floats' ? tensor('float32', [a.value.length], a.value) : undefined),
  value_ints: (a) => (a.kind === 'ints' ? tensor('int64', [a.value.length], a.value) : undefined),
};

/** Returns the value of a `Constant` node, undefined for other nodes. @throws WinnowError `invalid_graph` for strings and sparse values. */
export function constantOf(node: Node): Tensor | undefined {
  if (node.op !== 'Constant' || node.domain !== '') return undefined;
  for (const [name, a] of Object.entries(node.attrs)) {
    const value = CONSTANT_FORMS[name]?.(a);
    if (value !== undefined) return value;
  }
  throw new WinnowError('invalid_graph', {
    where: `node ${nodeLabel(node)}`,
    expected: 'a numeric Constant',
    got: Object.keys(node.attrs).join(),
  });
}

/** Replaces `Constant` nodes by initializers under the names of their outputs. */
export function inlineConstants(graph: Graph): Graph {
  const initializers = new Map(graph.initializers);
  const nodes = graph.nodes.filter((node) => {
    const value = constantOf(node);
    if (value !== undefined) initializers.set(node.outputs[0]!, value);
    return value === undefined;
  });
  return freezeGraph({ ...graph, initializers, nodes });
}

/** Whether the node returns its first input: Identity, or Dropout outside training. */
function passesThrough(node: Node, graph: Graph): boolean {
  if (node.domain !== '') return false;
  if (node.op === 'Identity') return true;
  const training = graph.initializers.get(node.inputs[2] ?? '');
  return node.op === 'Dropout' && (training === undefined || training.bytes[0] === 0) && (node.outputs[1] ?? '') === '';
}

/**
 * Removes Identity (and Dropout outside training): readers read the source, so that a weight shared through an Identity is one weight.
 * Nodes that make an output of the graph stay.
 */
export function dropIdentities(graph: Graph): Graph {
  const outputs = new Set(graph.outputs.map((o) => o.name));
  const rename = new Map<string, string>();
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const moved = renameReads(node, rename);
    if (passesThrough(moved, graph) && !outputs.has(moved.outputs[0]!)) rename.set(moved.outputs[0]!, moved.inputs[0]!);
    else nodes.push(moved);
  }
  return freezeGraph({ ...graph, nodes });
}
