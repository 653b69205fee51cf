import type { AdamWOptions, StepScalars } from './adamw.ts';
import { KERNEL } from './adamw-kernel-bytes.ts';

/*
 * The optimizer's arithmetic, four floats at a time in WebAssembly: a loop of JavaScript computes in doubles, one by one, and takes four times
 * as long. Blocks are copied in and out, small enough to stay in a core's cache, so that arrays may lie anywhere and be of any size.
 */

export interface WeightArrays {
  readonly weight: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}

export interface Move extends StepScalars {
  /** On every gradient: clipping, mean over micro-batches, loss scale taken off. */
  readonly factor: number;
  readonly decays: boolean;
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  update(
    count: number,
    factor: number,
    rest1: number,
    rest2: number,
    decay: number,
    step: number,
    scale: number,
    epsilon: number,
  ): void;
  squares(count: number): number;
}

/** What is used of the global that the compiler's own libraries only know of browsers. */
interface WebAssemblyHere {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

/** Floats of a block; the kernel's memory holds four. */
const BLOCK = 4096;

function open(): { readonly exports: Exports; readonly blocks: readonly Float32Array[] } {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyHere }).WebAssembly;
  const exports = new Instance(new Module(Buffer.from(KERNEL, 'base64'))).exports as Exports;
  const floats = new Float32Array(exports.memory.buffer);
  return { exports, blocks: [0, 1, 2, 3].map((i) => floats.subarray(i * BLOCK, (i + 1) * BLOCK)) };
}

const kernel = open();

/** One weight's update in place from its whole gradient: the formula of `adamw`, in float32. */
export function updateInPlace(w: WeightArrays, gradient: Float32Array, move: Move, options: AdamWOptions): void {
  const { exports, blocks } = kernel;
  const { beta1, beta2, epsilon, weightDecay } = options;
  const decay = move.decays ? move.learningRate * weightDecay : 0;
  const [ofWeight, ofFirst, ofSecond, ofGradient] = blocks as [Float32Array, Float32Array, Float32Array, Float32Array];
  for (let from = 0; from < gradient.length; from += BLOCK) {
    const to = Math.min(from + BLOCK, gradient.length);
    const weight = w.weight.subarray(from, to);
    const first = w.firstMoment.subarray(from, to);
    const second = w.secondMoment.subarray(from, to);
    ofWeight.set(weight);
    ofFirst.set(first);
    ofSecond.set(second);
    ofGradient.set(gradient.subarray(from, to));
    exports.update(to - from, move.factor, 1 - beta1, 1 - beta2, decay, move.stepSize, move.secondScale, epsilon);
    weight.set(ofWeight.subarray(0, to - from));
    first.set(ofFirst.subarray(0, to - from));
    second.set(ofSecond.subarray(0, to - from));
  }
}

/** Σ x², in double precision. */
export function squareSum(x: Float32Array): number {
  const { exports, blocks } = kernel;
  const block = blocks[0]!;
  let sum = 0;
  for (let from = 0; from < x.length; from += BLOCK) {
    const count = Math.min(BLOCK, x.length - from);
    block.set(x.subarray(from, from + count));
    // The kernel reads whole fours.
    if (count % 4 !== 0) block.fill(0, count, count + 4);
    sum += exports.squares(count);
  }
  return sum;
}
