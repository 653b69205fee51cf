import type { GraphBuilder, MatMulOptions } from '../onnx/builder.ts';
import type { DataType } from '../onnx/dtypes.ts';
import type { Graph, Node } from '../onnx/graph.ts';

/**
 * What a rule sees of one node of the forward graph. In the formulas above the rules x, a, b, … are inputs, y is the output, dy the
 * gradient of the loss with respect to y, and Σ→x sums dy over the axes along which x was broadcast.
 */
export interface RuleContext {
  readonly g: GraphBuilder;
  readonly node: Node;
  /** The forward graph: for constants, and for what else is computed from a value. */
  readonly forward: Graph;
  /** Nodes of the forward graph that read a value. */
  readers(value: string): readonly Node[];
  /** Gradient of output `i`, if anything needed it. */
  gradient(i: number): string | undefined;
  /** Gradient of the first output. */
  readonly dy: string;
  /** Does input `i` lead to a weight? */
  needs(i: number): boolean;
  /** Dims in the probing batch. They tell rank and broadcasting, not sizes. */
  dims(value: string): readonly number[];
  rank(value: string): number;
  dtype(value: string): DataType;
  /** A scalar of the type of `like`. */
  num(value: number, like: string): string;
  /** The numbers of a constant integer or float input, if it is constant. */
  constant(value: string | undefined): readonly number[] | undefined;
  /** Can −∞ be in the value by way of a constant it depends on? */
  mayBeInfinite(value: string): boolean;
  /** The Shape of a value, made once. */
  shapeOf(value: string): string;
  /** One element of a value's shape, as an int64 vector of one element, made once. */
  sizeOf(value: string, axis: number): string;
  /** `gradient`, of the dims of `from`, summed down to the dims of `to`. */
  reduceTo(gradient: string, from: string, to: string): string;
  /** Makes once, by key, what several nodes share. */
  once(key: string, make: () => string): string;
  matmul(a: string, b: string, options: Omit<MatMulOptions, 'dtype'>): string;
  /** An error naming the op and the node. */
  unsupported(reason: string): Error;
}

/** Gradients of the inputs, in their order; undefined for those that need none. */
export type Rule = (c: RuleContext) => readonly (string | undefined)[];
