import { MICROSOFT } from '../builder.ts';
import { freezeGraph, freezeNode, type Graph, type Node } from '../graph.ts';
import { prune, topologicalSort } from '../order.ts';
import type { Shapes } from '../probe.ts';
import { Matcher } from './matcher.ts';

/*
 * Fuses forms that exporters write as several nodes into the one node they mean. Its backward pass is shorter and reads less memory than
 * that of the parts.
 */

/** A node that replaces `last`. What only the replaced nodes read is pruned. */
interface Fusion {
  readonly last: Node;
  readonly fused: Node;
}

function replace(graph: Graph, fusions: readonly (Fusion | undefined)[]): Graph {
  const fused = new Map(fusions.flatMap((f) => (f ? [[f.last, f.fused] as const] : [])));
  if (fused.size === 0) return graph;
  return prune(topologicalSort(freezeGraph({ ...graph, nodes: graph.nodes.map((n) => fused.get(n) ?? n) })));
}

/**
 * Fuses x ↦ γ (x − mean) / √(var + ε) + β over the last axis, written as ReduceMean, Sub, Pow (or Mul), ReduceMean, Add, Sqrt, Div, Mul and,
 * with a β, Add. Needs opset 17, and `shapes` where axes are counted from the front.
 */
export function fuseLayerNorm(graph: Graph, shapes?: Shapes): Graph {
  const m = new Matcher(graph, shapes);
  return replace(
    graph,
    graph.nodes.filter((n) => n.op === 'Div' && n.domain === '').map((n) => layerNormAt(m, n)),
  );
}

function layerNormAt(m: Matcher, div: Node): Fusion | undefined {
  const [centered, deviation] = div.inputs as [string, string];
  const sum = m.made(m.made(deviation, 'Sqrt')?.inputs[0], 'Add');
  const epsilon = m.scalar(sum?.inputs[1]) ?? m.scalar(sum?.inputs[0]);
  const variance = m.made(sum?.inputs[0], 'ReduceMean') ?? m.made(sum?.inputs[1], 'ReduceMean');
  const x = m.made(centered, 'Sub')?.inputs[0];
  if (epsilon === undefined || x === undefined || !m.isLastMean(variance)) return undefined;
  if (!squares(m, variance!.inputs[0], x) || !isCentered(m, centered, x)) return undefined;
  const scaled = m.onlyReader(div.outputs[0]!, 'Mul');
  const gamma = scaled && m.other(scaled, div.outputs[0]!);
  if (!scaled || m.graph.initializers.get(gamma ?? '')?.dims.length !== 1) return undefined;
  const shifted = m.onlyReader(scaled.outputs[0]!, 'Add');
  const beta = shifted && m.other(shifted, scaled.outputs[0]!);
  const biased = m.graph.initializers.get(beta ?? '')?.dims.length === 1;
  const last = biased ? shifted! : scaled;
  return {
    last,
    fused: freezeNode({
      op: 'LayerNormalization',
      domain: '',
      name: last.name,
      inputs: biased ? [x, gamma!, beta!] : [x, gamma!],
      outputs: last.outputs,
      attrs: { axis: { kind: 'int', value: -1 }, epsilon: { kind: 'float', value: epsilon } },
    }),
  };
}

function isCentered(m: Matcher, value: string, x: string): boolean {
  const sub = m.made(value, 'Sub');
  const mean = m.made(sub?.inputs[1], 'ReduceMean');
  return sub?.inputs[0] === x && m.isLastMean(mean) && mean!.inputs[0] === x;
}

function squares(m: Matcher, value: string | undefined, x: string): boolean {
  const pow = m.made(value, 'Pow');
  if (pow) return m.scalar(pow.inputs[1]) === 2 && isCentered(m, pow.inputs[0]!, x);
  const mul = m.made(value, 'Mul');
  return mul !== undefined && mul.inputs[0] === mul.inputs[1] && isCentered(m, mul.inputs[0]!, x);
}

/** Fuses x ↦ x/2 (1 + erf(x/√2)) in any order of its factors. Needs opset 20. */
export function fuseGelu(graph: Graph): Graph {
  const m = new Matcher(graph);
  return replace(
    graph,
    graph.nodes.filter((n) => n.op === 'Erf' && n.domain === '').map((n) => geluAt(m, n)),
  );
}

function geluAt(m: Matcher, erf: Node): Fusion | undefined {
  const x = dividend(m, erf.inputs[0]!);
  const sum = m.onlyReader(erf.outputs[0]!, 'Add');
  if (x === undefined || !sum || !m.isNear(m.other(sum, erf.outputs[0]!), 1)) return undefined;
  const first = m.onlyReader(sum.outputs[0]!, 'Mul');
  const factor = first && m.other(first, sum.outputs[0]!);
  if (!first || factor === undefined) return undefined;
  const last = isHalf(m, factor, x) ? first : lastFactor(m, first, factor, x);
  if (!last) return undefined;
  const attrs = { approximate: { kind: 'string', value: 'none' } } as const;
  return {
    last,
    fused: freezeNode({ op: 'Gelu', domain: '', name: last.name, inputs: [x], outputs: last.outputs, attrs }),
  };
}

/** Returns the v of v/√2. */
function dividend(m: Matcher, value: string): string | undefined {
  const div = m.made(value, 'Div');
  if (div) return m.isNear(div.inputs[1], Math.SQRT2) ? div.inputs[0] : undefined;
  const mul = m.made(value, 'Mul');
  if (!mul) return undefined;
  return m.isNear(mul.inputs[1], Math.SQRT1_2)
    ? mul.inputs[0]
    : m.isNear(mul.inputs[0], Math.SQRT1_2)
      ? mul.inputs[1]
      : undefined;
}

function isHalf(m: Matcher, value: string, x: string): boolean {
  const mul = m.made(value, 'Mul');
  return mul !== undefined && m.isNear(m.other(mul, x), 0.5);
}

/** Returns the Mul by the missing factor: 0.5 after x, or x after 0.5. */
function lastFactor(m: Matcher, first: Node, factor: string, x: string): Node | undefined {
  const next = m.onlyReader(first.outputs[0]!, 'Mul');
  const missing = next && m.other(next, first.outputs[0]!);
  if (factor === x) return m.isNear(missing, 0.5) ? next : undefined;
  return m.isNear(factor, 0.5) && missing === x ? next : undefined;
}

/**
 * Fuses a product and the constant it is scaled by (attention scores, by 1/√d) into one product with a factor. The factor then costs
 * nothing, in the backward pass either. Float32 only, for which every provider has the node.
 */
export function fuseScale(graph: Graph): Graph {
  const m = new Matcher(graph);
  return replace(
    graph,
    graph.nodes.filter((n) => n.domain === '' && (n.op === 'Div' || n.op === 'Mul')).map((n) => scaledAt(m, n)),
  );
}

function scaledAt(m: Matcher, last: Node): Fusion | undefined {
  const [left, right] = last.inputs as [string, string];
  const turned = last.op === 'Mul' && m.scalar(left) !== undefined;
  const [value, constant] = turned ? [right, left] : [left, right];
  const number = m.scalar(constant);
  const product = m.made(value, 'MatMul');
  const float = m.graph.initializers.get(constant)?.dtype === 'float32';
  if (number === undefined || number === 0 || !float || !product) return undefined;
  if (m.onlyReader(value, last.op) !== last || product.inputs.some((i) => m.graph.initializers.has(i)))
    return undefined;
  const alpha = { kind: 'float', value: last.op === 'Div' ? 1 / number : number } as const;
  return {
    last,
    fused: freezeNode({ ...product, op: 'FusedMatMul', domain: MICROSOFT, outputs: last.outputs, attrs: { alpha } }),
  };
}
