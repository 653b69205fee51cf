import type { AdamWOptions } from './adamw.ts';
import { type Move, squareSum, updateInPlace, type WeightArrays } from './adamw-kernel.ts';
import { slicesOf } from './host-adamw.ts';

/*
 * The optimizer's work in chunks that any thread may take. All data is in shared memory. A chunk's result depends on the chunk alone, and
 * sums of chunks are added in their order, so results do not depend on the number of threads.
 */

export interface WeightWork {
  readonly arrays: WeightArrays;
  readonly gradient: Float32Array;
}

/** The memory that all threads share. */
export interface SharedWork {
  readonly weights: readonly WeightWork[];
  readonly options: AdamWOptions;
  /** Three numbers per chunk: weight, from, to. */
  readonly chunks: Int32Array;
  /** `TICKET`, `DONE` and `FAILED`. */
  readonly control: Int32Array;
  /** Σ g² of each chunk. */
  readonly squares: Float64Array;
  /** `MOVE` numbers per weight. */
  readonly moves: Float64Array;
}

/** Index in `control` of the round (upper 16 bits) and its next chunk (lower 16). */
export const TICKET = 0;
/** Index in `control` of the number of finished chunks. */
export const DONE = 1;
/** Index in `control` of the number of threads that failed in a round. */
export const FAILED = 2;
/** Task of a round, the lowest bit of its number. */
export const SQUARES = 0;
export const UPDATE = 1;

/** Elements of a chunk: four arrays of this size fit into a core's cache. */
export const CHUNK = 1 << 16;
/** Numbers of a `Move`. */
const MOVE = 5;

/** Allocates shared memory for the moves of a round. */
export const movesOf = (weights: number): Float64Array =>
  new Float64Array(new SharedArrayBuffer(weights * MOVE * Float64Array.BYTES_PER_ELEMENT));

/** Stores the move of a weight where all threads read it. */
export function writeMove(moves: Float64Array, weight: number, move: Move): void {
  moves.set([move.factor, move.learningRate, move.stepSize, move.secondScale, +move.decays], weight * MOVE);
}

function readMove(moves: Float64Array, weight: number): Move {
  const [factor, learningRate, stepSize, secondScale, decays] = moves.subarray(
    weight * MOVE,
    (weight + 1) * MOVE,
  ) as unknown as [number, number, number, number, number];
  return { factor, learningRate, stepSize, secondScale, decays: decays === 1 };
}

/** Takes the next chunk of a round; undefined once all are taken or another round has begun. */
function takeChunk(control: Int32Array, round: number, chunks: number): number | undefined {
  for (;;) {
    const ticket = Atomics.load(control, TICKET);
    const chunk = ticket & 0xffff;
    if (ticket >>> 16 !== round || chunk >= chunks) return undefined;
    if (Atomics.compareExchange(control, TICKET, ticket, ticket + 1) === ticket) return chunk;
  }
}

/** Works on chunks of a round until none is left. */
export function workOn(shared: SharedWork, round: number): void {
  const { chunks, control } = shared;
  const count = chunks.length / 3;
  for (let chunk = takeChunk(control, round, count); chunk !== undefined; chunk = takeChunk(control, round, count)) {
    const [weight, from, to] = chunks.subarray(chunk * 3, chunk * 3 + 3) as unknown as [number, number, number];
    const { arrays, gradient } = shared.weights[weight]!;
    const own = gradient.subarray(from, to);
    if ((round & 1) === SQUARES) shared.squares[chunk] = squareSum(own);
    else updateInPlace(slicesOf(arrays, from, to), own, readMove(shared.moves, weight), shared.options);
    if (Atomics.add(control, DONE, 1) === count - 1) Atomics.notify(control, DONE);
  }
}
