import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { captures, freezeGraph, type Graph, reads } from '../../src/onnx/graph.ts';
import { downstream, lateOrder, prune, topologicalSort, upstream } from '../../src/onnx/order.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

/** A graph of `size` additions, each of two earlier values. */
function randomGraph(size: number, seed: number): Graph {
  const random = createRandom(seed);
  const g = new GraphBuilder();
  const values = [g.input('x', 'float32', [2])];
  for (let i = 0; i < size; i++)
    values.push(
      g.op(random.below(2) ? 'Add' : 'Sub', [
        values[random.below(values.length)]!,
        values[random.below(values.length)]!,
      ]),
    );
  g.output(values.at(-1)!, 'float32', [2], 'y');
  return g.build();
}

function isSorted(graph: Graph): boolean {
  const made = new Set([...graph.inputs.map((i) => i.name), ...graph.initializers.keys()]);
  return graph.nodes.every((node) => {
    const ready = reads(node).every((name) => made.has(name));
    for (const output of node.outputs) made.add(output);
    return ready;
  });
}

const shuffled = (graph: Graph, seed: number): Graph =>
  freezeGraph({ ...graph, nodes: createRandom(seed).shuffle([...graph.nodes]) });

describe('orders', () => {
  it('topologicalSort makes every value before it is read', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.nat(), (size, seed) => {
        const sorted = topologicalSort(shuffled(randomGraph(size, seed), seed + 1));
        expect(isSorted(sorted)).toBe(true);
        expect(sorted.nodes.length).toBe(size + 1);
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  it('lateOrder is an order too, and changes no result', async () => {
    const graph = randomGraph(60, 3);
    const late = lateOrder(graph);
    expect(isSorted(late)).toBe(true);
    expect(new Set(late.nodes)).toEqual(new Set(graph.nodes));
    const x = float32([2], [1, -3]);
    expect((await runOnce(modelOf(late), { x })).y).toEqual((await runOnce(modelOf(graph), { x })).y);
  });

  it('lateOrder puts nodes without readers last, the first of them at the very end', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [1]);
    const a = g.op('Neg', ['x'], {}, { name: 'a' });
    g.op('Abs', [a], {}, { name: 'leaf of a' });
    const b = g.op('Neg', [a], {}, { name: 'b' });
    g.op('Abs', [b], {}, { name: 'leaf of b' });
    expect(lateOrder(g.build()).nodes.map((n) => n.name)).toEqual(['a', 'b', 'leaf of b', 'leaf of a']);
  });

  it('names a node of a cycle', () => {
    const node = (name: string, from: string, to: string) => ({
      op: 'Neg',
      domain: '',
      name,
      inputs: [from],
      outputs: [to],
      attrs: {},
    });
    const graph = freezeGraph({
      name: '',
      inputs: [],
      outputs: [],
      initializers: new Map(),
      nodes: [node('one', 'b', 'a'), node('two', 'a', 'b')],
    });
    expect(() => topologicalSort(graph)).toThrow(/node (one|two): expected no cycle/);
  });

  it('prune drops what no output needs', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [1]);
    g.initializer('used', float32([1], [1]));
    g.initializer('unused', float32([1], [1]));
    g.add('x', 'unused');
    g.output(g.add('x', 'used'), 'float32', [1]);
    const pruned = prune(g.build());
    expect(pruned.nodes.length).toBe(1);
    expect([...pruned.initializers.keys()]).toEqual(['used']);
    expect(pruned.inputs.map((i) => i.name)).toEqual(['x']);
  });
});

/** y = c ? x + late : x, where `late` is made by a node outside the branch. */
function withBranch(): Graph {
  const inner = new GraphBuilder('then');
  inner.output(inner.op('Add', ['x', 'late'], {}, { name: 'inner' }), 'float32', [1], 'chosen');
  const other = new GraphBuilder('else');
  other.output(other.op('Identity', ['x']), 'float32', [1], 'kept');
  const g = new GraphBuilder();
  g.input('x', 'float32', [1]);
  g.input('c', 'bool', []);
  const y = g.op('If', ['c'], { then_branch: inner.build(), else_branch: other.build() });
  g.append({ op: 'Neg', domain: '', name: 'makes late', inputs: ['x'], outputs: ['late'], attrs: {} });
  g.output(y, 'float32', [1], 'y');
  return g.build();
}

describe('subgraphs', () => {
  it('count what they capture as read', async () => {
    const graph = withBranch();
    expect(captures(graph.nodes[0]!.attrs.then_branch!.value as Graph)).toEqual(['x', 'late']);
    expect(isSorted(graph)).toBe(false);
    const sorted = prune(topologicalSort(graph));
    expect(isSorted(sorted)).toBe(true);
    expect(sorted.nodes.map((n) => n.name)).toContain('makes late');
    expect(downstream(sorted, ['late']).has(sorted.nodes.find((n) => n.op === 'If')!.outputs[0]!)).toBe(true);
    expect(upstream(sorted, ['y']).has('late')).toBe(true);
    const feeds = { x: float32([1], [3]), c: tensor('bool', [], [1]) };
    expect(numbers((await runOnce(modelOf(sorted), feeds)).y!)).toEqual([0]);
  });
});
