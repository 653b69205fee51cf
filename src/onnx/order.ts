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
