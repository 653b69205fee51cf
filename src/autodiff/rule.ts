import type { GraphBuilder, MatMulOptions } from '../onnx/builder.ts';
import type { DataType } from '../onnx/dtypes.ts';
import type { Graph, Node } from '../onnx/graph.ts';
import type { Inverse } from '../onnx/rewrites/pack.ts';

/**
 * What a rule knows of one node of the forward graph. In the formulas above the rules x, a, b, … are inputs, y is the output, dy the
 * gradient of the loss with respect to y, and Σ→x sums over the axes along which x was broadcast.
 */
export interface RuleContext {
  readonly g: GraphBuilder;
  readonly node: Node;
  /** The forward graph. */
  readonly forward: Graph;
  /** Returns the nodes of the forward graph that read a value. */
  readers(value: string): readonly Node[];
  /** Returns the gradient of output `i`, undefined if nothing depends on it. */
  gradient(i: number): string | undefined;
  /** Gradient of the first output. */
  readonly dy: string;
  /** Whether input `i` leads to a weight. */
  needs(i: number): boolean;
  /** Returns the dims in the probing batch: good for rank and broadcasting, not for sizes. */
  dims(value: string): readonly number[];
  rank(value: string): number;
  dtype(value: string): DataType;
  /** Adds a scalar of the type of `like`. */
  num(value: number, like: string): string;
  /** Returns the numbers of a value if it is constant. */
  constant(value: string | undefined): readonly number[] | undefined;
  /** Whether a constant that the value depends on holds −∞. */
  mayBeInfinite(value: string): boolean;
  /** Returns what undoes a Gather by these indices, if they are among the inverses given to `differentiate`. */
  inverse(indices: string): Inverse | undefined;
  /** Returns the Shape of a value, which is made once. */
  shapeOf(value: string): string;
  /** Returns one element of a value's shape as an int64 vector, which is made once. */
  sizeOf(value: string, axis: number): string;
  /** Sums a gradient of the dims of `from` to the dims of `to`. */
  reduceTo(gradient: string, from: string, to: string): string;
  /** Makes a value once per key, for several nodes. */
  once(key: string, make: () => string): string;
  matmul(a: string, b: string, options: Omit<MatMulOptions, 'dtype'>): string;
  /** Makes an error naming the op and the node. */
  unsupported(reason: string): Error;
}

/** Appends the backward nodes of a node. Returns the gradients of its inputs, in their order; undefined for those that need none. */
export type Rule = (c: RuleContext) => readonly (string | undefined)[];
