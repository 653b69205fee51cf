import { WinnowError } from '../errors.ts';
import { freezeGraph, type Graph, type Node, nodeLabel, producers, reads } from './graph.ts';

/**
 * Nodes so that every value is made before it is read, otherwise in the order they came (Kahn's algorithm). What subgraphs capture counts
 * as read.
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

/** Values that depend on any of `sources`, the sources included. */
export function downstream(graph: Graph, sources: Iterable<string>): ReadonlySet<string> {
  const found = new Set(sources);
  for (const node of graph.nodes)
    if (reads(node).some((name) => found.has(name)))
      for (const output of node.outputs) if (output !== '') found.add(output);
  return found;
}

/** Values that `targets` depend on, the targets included. */
export function upstream(graph: Graph, targets: Iterable<string>): ReadonlySet<string> {
  const found = new Set(targets);
  for (const node of graph.nodes.toReversed())
    if (node.outputs.some((o) => found.has(o))) for (const name of reads(node)) found.add(name);
  return found;
}

/** The graph without nodes and initializers that no output needs. Inputs stay. */
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
 * The nodes so that each stands as late as its readers allow, and of those free to move the earliest-made stands last.
 *
 * The engine runs the nodes as a depth-first search from the outputs meets them, the highest index first. Behind a backward pass in its
 * natural order that leaves every weight's gradient, and the activations it reads, to the end; in this order each weight's gradient is
 * computed as soon as the pass gets there, and memory is given back on the way.
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
