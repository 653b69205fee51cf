import type { AdamWOptions, StepScalars } from './adamw.ts';
import { KERNEL } from './adamw-kernel-bytes.ts';

/*
 * The optimizer's arithmetic in WebAssembly, four floats at a time; a JavaScript loop computes in doubles, one by one, and takes four times as
 * long. Blocks are copied to the kernel's memory and back, so that arrays may lie anywhere; a block stays in a core's cache.
 */

export interface WeightArrays {
  readonly weight: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}

/** How one weight is updated in a step. */
export interface Move extends StepScalars {
  /** Factor on the gradient: clipping, mean over micro-batches, inverse of the loss scale. */
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

/** The used part of the global `WebAssembly`, which TypeScript declares for browsers only. */
interface WebAssemblyGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

/** Floats of a block; the kernel's memory holds four blocks. */
const BLOCK = 4096;

function open(): { readonly exports: Exports; readonly blocks: readonly Float32Array[] } {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyGlobal }).WebAssembly;
  const exports = new Instance(new Module(Buffer.from(KERNEL, 'base64'))).exports as Exports;
  const floats = new Float32Array(exports.memory.buffer);
  return { exports, blocks: [0, 1, 2, 3].map((i) => floats.subarray(i * BLOCK, (i + 1) * BLOCK)) };
}

const kernel = open();

/** Updates a weight and its moments in place from the whole gradient, by the formula of `adamw` in float32. */
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

/** Returns Σ x², summed in double precision. */
export function squareSum(x: Float32Array): number {
  const { exports, blocks } = kernel;
  const block = blocks[0]!;
  let sum = 0;
  for (let from = 0; from < x.length; from += BLOCK) {
    const count = Math.min(BLOCK, x.length - from);
    block.set(x.subarray(from, from + count));
    // The kernel reads multiples of four.
    if (count % 4 !== 0) block.fill(0, count, count + 4);
    sum += exports.squares(count);
  }
  return sum;
}
