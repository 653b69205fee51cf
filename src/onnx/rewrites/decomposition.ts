import { WinnowError } from '../../errors.ts';
import type { GraphBuilder } from '../builder.ts';
import { type Node, nodeLabel, opKey } from '../graph.ts';
import type { Probed } from '../probe.ts';

/** One composite node, and the builder that takes its parts. */
export interface Context {
  readonly g: GraphBuilder;
  readonly node: Node;
  readonly probed: (value: string) => Probed;
  /** Makes `value` output `i` of the node, under the node's own name for it. */
  readonly output: (value: string, i?: number) => void;
}

/** Appends primitive nodes in the place of a composite one. */
export type Decomposition = (c: Context) => void;

/** Makes the error of an unsupported variant. */
export const refuse = (node: Node, reason: string): WinnowError =>
  new WinnowError('unsupported_op', { op: `${opKey(node)} with ${reason}`, node: nodeLabel(node) });

/** Whether the node has input `i`. */
export const has = (node: Node, i: number): boolean => (node.inputs[i] ?? '') !== '';
