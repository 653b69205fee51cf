import { WinnowError } from '../../errors.ts';
import type { GraphBuilder } from '../builder.ts';
import { type Node, nodeLabel, opKey } from '../graph.ts';
import type { Probed } from '../probe.ts';

/** What a decomposition is given of one composite node. */
export interface Context {
  readonly g: GraphBuilder;
  readonly node: Node;
  readonly probed: (value: string) => Probed;
  /** Ends the decomposition: `value` takes the name of output `i`. */
  readonly give: (value: string, i?: number) => void;
}

export type Decomposition = (c: Context) => void;

export const refuse = (node: Node, reason: string): WinnowError =>
  new WinnowError('unsupported_op', { op: `${opKey(node)} with ${reason}`, node: nodeLabel(node) });

export const has = (node: Node, i: number): boolean => (node.inputs[i] ?? '') !== '';
