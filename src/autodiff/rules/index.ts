import type { Rule } from '../rule.ts';
import * as e from './elementwise.ts';
import { gather, gatherElements } from './gather.ts';
import { einsum, fusedMatMul, gemm, matMul } from './linear.ts';
import { layerNormalization, logSoftmax, softmax } from './normalize.ts';
import * as r from './reduce.ts';
import * as s from './shape.ts';

/**
 * Every op that can be differentiated; a further one is its rule and a line here. Contrib and composite ops (fused attention, skip and
 * embedding normalizations, rotary embeddings) are rewritten into these first: see `onnx/rewrites/decompose.ts`.
 */
export const RULES: Readonly<Record<string, Rule>> = {
  // Element by element
  Add: e.add,
  Sub: e.sub,
  Mul: e.mul,
  Div: e.div,
  Pow: e.pow,
  Neg: e.neg,
  Abs: e.abs,
  Sqrt: e.sqrt,
  Reciprocal: e.reciprocal,
  Exp: e.exp,
  Log: e.log,
  Sin: e.sin,
  Cos: e.cos,
  Erf: e.erf,
  Tanh: e.tanh,
  Sigmoid: e.sigmoid,
  Softplus: e.softplus,
  Relu: e.relu,
  Gelu: e.gelu,
  Clip: e.clip,
  Max: e.extreme,
  Min: e.extreme,
  Sum: e.sum,
  Where: e.where,
  Cast: e.cast,
  Identity: e.identity,
  Sign: e.flat,
  Floor: e.flat,
  Ceil: e.flat,
  Round: e.flat,
  // Products
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  'com.microsoft:FusedMatMul': fusedMatMul,
  // Normalizations
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNormalization,
  // Reductions
  ReduceSum: r.reduceSum,
  ReduceMean: r.reduceMean,
  ReduceMax: r.reduceExtreme,
  ReduceMin: r.reduceExtreme,
  ReduceSumSquare: r.reduceSumSquare,
  ReduceL1: r.reduceL1,
  ReduceL2: r.reduceL2,
  ReduceLogSumExp: r.reduceLogSumExp,
  CumSum: r.cumSum,
  // Shapes
  Reshape: s.sameElements,
  Flatten: s.sameElements,
  Squeeze: s.sameElements,
  Unsqueeze: s.sameElements,
  Transpose: s.transpose,
  Expand: s.expand,
  Tile: s.tile,
  Concat: s.concat,
  Split: s.split,
  Slice: s.slice,
  Pad: s.pad,
  Trilu: s.trilu,
  // Look-ups
  Gather: gather,
  GatherElements: gatherElements,
};
