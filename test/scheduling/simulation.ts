import type { Clock } from '../../src/scheduling/clock.ts';
import { batchMs, type Cost } from '../../src/scheduling/cost-model.ts';
import { Heap } from '../../src/scheduling/heap.ts';
import type { BatchExecutor } from '../../src/scheduling/types.ts';

interface Event {
  readonly at: number;
  readonly sequence: number;
  readonly call: () => void;
}

/** Lets everything that promises have set off come to rest. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Time that only moves when told to: events fire in order, and promises settle between them. */
export class SimulatedClock implements Clock {
  #now = 0;
  #sequence = 0;
  readonly #events = new Heap<Event>((a, b) => a.at < b.at || (a.at === b.at && a.sequence < b.sequence));

  now(): number {
    return this.#now;
  }

  get pending(): number {
    return this.#events.size;
  }

  after(ms: number, call: () => void): () => void {
    const event = { at: this.#now + Math.max(0, ms), sequence: this.#sequence++, call };
    this.#events.push(event);
    return () => this.#events.remove(event);
  }

  /** Runs all events up to `until`; all there are by default. */
  async run(until = Number.POSITIVE_INFINITY): Promise<void> {
    await settle();
    for (let next = this.#events.peek(); next && next.at <= until; next = this.#events.peek()) {
      this.#events.pop();
      this.#now = next.at;
      next.call();
      await settle();
    }
    if (until < Number.POSITIVE_INFINITY) this.#now = until;
  }
}

export interface FakeRow {
  readonly ids: { readonly length: number };
  /** What the fake engine answers. */
  readonly score: number;
}

export const row = (length: number, score = length): FakeRow => ({ ids: { length }, score });

export interface RanBatch {
  readonly key: string;
  readonly rows: readonly FakeRow[];
  readonly startedAt: number;
}

export interface SimulatedEngine extends BatchExecutor<FakeRow> {
  readonly concurrency: number;
  readonly depth: number;
  /** Every batch, in the order they were taken up. */
  readonly ran: readonly RanBatch[];
  /** Milliseconds runners were busy, over all of them. */
  readonly busyMs: number;
}

export interface EngineOptions {
  /** What batches cost; a function where that changes with time. */
  readonly cost: Cost | (() => Cost);
  readonly concurrency?: number;
  readonly depth?: number;
  /** Throws where the engine should fail. */
  readonly fail?: (rows: readonly FakeRow[]) => void;
}

/** An engine of `concurrency` runners with one pipe, each batch taking what the cost says: its answers are exact, its time is simulated. */
export function simulatedEngine(clock: SimulatedClock, options: EngineOptions): SimulatedEngine {
  const { cost, concurrency = 1, depth = 1, fail } = options;
  const ran: RanBatch[] = [];
  const pipe: (() => void)[] = [];
  let running = 0;
  let busyMs = 0;
  const start = (work: () => void) => {
    running++;
    work();
  };
  const land = () => {
    running--;
    const next = pipe.shift();
    if (next) start(next);
  };
  return {
    concurrency,
    depth,
    ran,
    get busyMs() {
      return busyMs;
    },
    execute(key, rows) {
      const { promise, resolve, reject } = Promise.withResolvers<{ scores: Float32Array; inferMs: number }>();
      const work = () => {
        ran.push({ key, rows, startedAt: clock.now() });
        const now = typeof cost === 'function' ? cost() : cost;
        const ms = batchMs(now, rows.length, Math.max(...rows.map((r) => r.ids.length)));
        clock.after(ms, () => {
          busyMs += ms;
          land();
          try {
            fail?.(rows);
            resolve({ scores: Float32Array.from(rows, (r) => r.score), inferMs: ms });
          } catch (error) {
            reject(error);
          }
        });
      };
      if (running < concurrency) start(work);
      else pipe.push(work);
      return promise;
    },
  };
}
