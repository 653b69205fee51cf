import { GraphBuilder } from '../builder.ts';
import { DATA_TYPES } from '../dtypes.ts';
import { freezeNode, type Model } from '../graph.ts';

/**
 * Rewrites `And` as a product of whole numbers. The WebGPU provider of ONNX Runtime 1.30 gets it wrong where one input is repeated along one of several
 * axes, as in masks of attention windows: [1, 1, 1, 24] and [1, 1, 24, 24] differ in 172 of 576 values.
 * @returns undefined for a model without that operator.
 */
export function withoutAnd(model: Model): Model | undefined {
  const { graph } = model;
  if (!graph.nodes.some(({ op, domain }) => op === 'And' && domain === '')) return undefined;
  const g = GraphBuilder.rewriting(graph);
  for (const node of graph.nodes) {
    if (node.op !== 'And' || node.domain !== '') {
      g.append(node);
      continue;
    }
    const [left, right] = node.inputs.map((input) => g.cast(input, 'int32'));
    const attrs = { to: { kind: 'int', value: DATA_TYPES.bool.code } } as const;
    g.append(freezeNode({ ...node, op: 'Cast', inputs: [g.mul(left!, right!)], attrs }));
  }
  return Object.freeze({ ...model, graph: g.build() });
}
