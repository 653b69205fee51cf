import { WinnowError } from '../errors.ts';
import { freezeGraph, type Graph, type Node, nodeLabel, producers, reads } from './graph.ts';

/**
 * Sorts the nodes so that every value is made before it is read, otherwise in their order (depth first). What subgraphs capture counts as
 * read.
 * @throws WinnowError `invalid_graph` naming a node of a cycle.
 */
export function topologicalSort(graph: Graph): Graph {
  const made = producers(graph);
  const done = new Set<Node>();
  const open = new Set<Node>();
  const sorted: Node[] = [];
  const visit = (start: Node): void => {
    const stack: { node: Node; needs: readonly string[]; next: number }[] = [
      { node: start, needs: reads(start), next: 0 },
    ];
    open.add(start);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const name = top.needs[top.next++];
      if (name === undefined) {
        stack.pop();
        done.add(top.node);
        sorted.push(top.node);
        continue;
      }
      const needed = made.get(name);
      if (needed === undefined || done.has(needed)) continue;
      if (open.has(needed))
        throw new WinnowError('invalid_graph', {
          where: `node ${nodeLabel(needed)}`,
          expected: 'no cycle',
          got: 'one',
        });
      open.add(needed);
      stack.push({ node: needed, needs: reads(needed), next: 0 });
    }
  };
  for (const node of graph.nodes) if (!done.has(node)) visit(node);
  return freezeGraph({ ...graph, nodes: sorted });
}

/** Returns the values that depend on any of `sources`, the sources included. */
export function downstream(graph: Graph, sources: Iterable<string>): ReadonlySet<string> {
  const found = new Set(sources);
  for (const node of graph.nodes)
    if (reads(node).some((name) => found.has(name)))
      for (const output of node.outputs) if (output !== '') found.add(output);
  return found;
}

/** Returns the values that `targets` depend on, the targets included. */
export function upstream(graph: Graph, targets: Iterable<string>): ReadonlySet<string> {
  const found = new Set(targets);
  for (const node of graph.nodes.toReversed())
    if (node.outputs.some((o) => found.has(o))) for (const name of reads(node)) found.add(name);
  return found;
}

/** Removes nodes and initializers that no output needs. Inputs stay. The nodes must be in topological order. */
export function prune(graph: Graph): Graph {
  const needed = upstream(
    graph,
    graph.outputs.map((o) => o.name),
  );
  return freezeGraph({
    ...graph,
    nodes: graph.nodes.filter((n) => n.outputs.some((o) => needed.has(o))),
    initializers: new Map([...graph.initializers].filter(([name]) => needed.has(name))),
  });
}

/**
 * Sorts the nodes so that each stands as late as its readers allow; of several that could stand last, the first of the given order does.
 *
 * The engine runs the nodes in the order of a depth-first search from the outputs, highest index first. With a backward pass in its natural
 * order, every weight's gradient, and the activations it reads, would wait until the end. In this order each weight's gradient is computed
 * as soon as the pass reaches it, and its memory is freed.
 */
export function lateOrder(graph: Graph): Graph {
  const made = producers(graph);
  const position = new Map(graph.nodes.map((n, i) => [n, i]));
  const sources = graph.nodes.map((node) => new Set(reads(node).flatMap((name) => made.get(name) ?? [])));
  const waiting = new Map<Node, number>(graph.nodes.map((n) => [n, 0]));
  for (const set of sources) for (const source of set) waiting.set(source, waiting.get(source)! + 1);
  const free = graph.nodes.filter((n) => waiting.get(n) === 0).map((n) => position.get(n)!);
  const placed: Node[] = [];
  while (free.length > 0) {
    const at = free.indexOf(Math.min(...free));
    const [index] = free.splice(at, 1) as [number];
    placed.push(graph.nodes[index]!);
    for (const source of sources[index]!) {
      const left = waiting.get(source)! - 1;
      waiting.set(source, left);
      if (left === 0) free.push(position.get(source)!);
    }
  }
  return freezeGraph({ ...graph, nodes: placed.toReversed() });
}
