import { FairQueue } from './fair-queue.ts';
import type { Tries } from './tokenizer-thread.ts';
import { type EncodeTask, LANES, type Lane } from './worker-protocol.ts';

/** A chunk of texts that waits for its ids. */
export interface Job extends EncodeTask {
  /** Aborts when the request ends. */
  readonly signal: AbortSignal | undefined;
  readonly resolve: (ids: readonly Int32Array[]) => void;
  readonly reject: (error: Error) => void;
  readonly tries: Tries;
}

/** The waiting chunks of each lane, in groups by request and shares by key. */
export class JobQueue {
  readonly #lanes: Readonly<Record<Lane, FairQueue<Job>>> = { quick: new FairQueue(), long: new FairQueue() };

  get size(): number {
    return this.#lanes.quick.size + this.#lanes.long.size;
  }

  /** @param share The key of the caller. Default: the group is a share of its own. */
  push(group: object, job: Job, share?: string): void {
    this.#lanes[job.lane].push(group, job, share);
  }

  shift(lane: Lane): Job | undefined {
    return this.#lanes[lane].shift();
  }

  /** Removes and returns all jobs of a group. */
  drop(group: object): readonly Job[] {
    return LANES.flatMap((lane) => this.#lanes[lane].drop(group));
  }

  /** Removes and returns all jobs. */
  clear(): readonly Job[] {
    return LANES.flatMap((lane) => this.#lanes[lane].clear());
  }
}
