import { Worker } from 'node:worker_threads';
import { WinnowError } from '../../errors.ts';
import { workerEntry } from '../../util/worker-entry.ts';
import type { AdamWOptions } from './adamw.ts';
import type { Move } from './adamw-kernel.ts';
import {
  CHUNK,
  DONE,
  FAILED,
  movesOf,
  type SharedWork,
  SQUARES,
  TICKET,
  UPDATE,
  type WeightWork,
  workOn,
  writeMove,
} from './adamw-work.ts';

/**
 * Runs AdamW over typed arrays on several threads, the calling one included. Calls return when all threads are done.
 * Both calls throw a WinnowError `optimizer_failed` where a thread is lost; the weights are then of no use.
 */
interface AdamWTeam {
  /** Returns Σ g² over all gradients. */
  squares(): number;
  /** Updates all weights. @param moves one per weight, in their order. */
  update(moves: readonly Move[]): void;
  close(): Promise<void>;
}

/** Allocates zeros in memory that all threads share. */
export const sharedFloats = (length: number): Float32Array<SharedArrayBuffer> =>
  new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));

const sharedInts = (length: number): Int32Array =>
  new Int32Array(new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT));

function chunksOf(weights: readonly WeightWork[]): Int32Array {
  const all = weights.flatMap(({ gradient: { length } }, weight) =>
    Array.from({ length: Math.ceil(length / CHUNK) }, (_, n) => [weight, n * CHUNK, Math.min(length, (n + 1) * CHUNK)]),
  );
  const chunks = sharedInts(all.length * 3);
  chunks.set(all.flat());
  return chunks;
}

const startThread = (shared: SharedWork): Worker =>
  new Worker(workerEntry('./adamw-thread', import.meta.url), { workerData: shared });

interface TeamOptions {
  readonly start?: (shared: SharedWork) => Worker;
  /** How long no chunk may be finished while all are taken, in milliseconds. One takes less than a millisecond. */
  readonly stallMs?: number;
}

/** Waits until all chunks are done. @throws WinnowError `optimizer_failed` where a thread failed, or where none finishes its chunk. */
function waitForAll(control: Int32Array, count: number, stallMs: number): void {
  for (let done = Atomics.load(control, DONE); done < count; done = Atomics.load(control, DONE)) {
    if (Atomics.load(control, FAILED) > 0) throw new WinnowError('optimizer_failed', { reason: 'a thread failed' });
    const isStalled = Atomics.wait(control, DONE, done, stallMs) === 'timed-out';
    if (isStalled) throw new WinnowError('optimizer_failed', { reason: `no thread finished work for ${stallMs} ms` });
  }
}

/** Starts worker threads. @returns them, and a function that throws WinnowError `optimizer_failed` where one has ended by itself. */
function startThreads(shared: SharedWork, count: number, start: (shared: SharedWork) => Worker) {
  let lost: Error | undefined;
  const workers = Array.from({ length: count }, () => {
    const worker = start(shared);
    worker.on('error', (error: Error) => {
      lost ??= error;
    });
    worker.on('exit', (code) => {
      lost ??= new Error(`a thread ended with code ${code}`);
    });
    worker.unref();
    return worker;
  });
  const check = () => {
    if (lost) throw new WinnowError('optimizer_failed', { reason: lost.message }, { cause: lost });
  };
  return { workers, check };
}

/**
 * Starts `threads − 1` worker threads.
 * @param weights in shared memory (`sharedFloats`) if there is more than one thread.
 * @param threads the calling one included.
 */
export function createAdamWTeam(
  weights: readonly WeightWork[],
  options: AdamWOptions,
  threads: number,
  { start = startThread, stallMs = 60_000 }: TeamOptions = {},
): AdamWTeam {
  const chunks = chunksOf(weights);
  const count = chunks.length / 3;
  const shared: SharedWork = {
    weights,
    options,
    chunks,
    control: sharedInts(3),
    squares: new Float64Array(new SharedArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT)),
    moves: movesOf(weights.length),
  };
  const { control, squares, moves } = shared;
  const { workers, check } = startThreads(shared, Math.max(0, threads - 1), start);
  let rounds = 0;
  const run = (task: typeof SQUARES | typeof UPDATE): void => {
    check();
    // The lowest bit says what the round does; 15 bits of counter tell it from the round before.
    rounds = (rounds + 1) & 0x7fff;
    const round = (rounds << 1) | task;
    Atomics.store(control, DONE, 0);
    Atomics.store(control, TICKET, round << 16);
    Atomics.notify(control, TICKET);
    workOn(shared, round);
    waitForAll(control, count, stallMs);
  };
  return {
    squares() {
      run(SQUARES);
      return squares.reduce((a, b) => a + b, 0);
    },
    update(all) {
      for (const [i, move] of all.entries()) writeMove(moves, i, move);
      run(UPDATE);
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
