import { batchMs, type Cost } from '../../src/scheduling/cost-model.ts';
import { Heap } from '../../src/scheduling/heap.ts';
import type { BatchAnswer, BatchExecutor } from '../../src/scheduling/scheduling-types.ts';
import type { Clock } from '../../src/util/clock.ts';

interface Event {
  readonly at: number;
  readonly sequence: number;
  readonly call: () => void;
}

/** Waits until all pending promise callbacks have run. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A clock that `run` advances: events fire in order, and promises settle between them. */
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
  /** What a batch takes beyond its cost, as a factor: a machine that others use too. */
  readonly disturbance?: () => number;
  /** Throws where the engine should fail. */
  readonly fail?: (rows: readonly FakeRow[]) => void;
}

interface Runner {
  readonly index: number;
  /** The batch it runs and those in its pipe. */
  readonly pipe: Work[];
}

interface Work {
  readonly tokens: number;
  readonly start: (runner: Runner) => void;
}

/** As the dispatcher chooses among hosts: the fewest batches, then the fewest tokens. */
function leastBusy(runners: readonly Runner[]): Runner {
  const tokens = ({ pipe }: Runner) => pipe.reduce((sum, work) => sum + work.tokens, 0);
  return runners.toSorted((a, b) => a.pipe.length - b.pipe.length || tokens(a) - tokens(b))[0]!;
}

/**
 * An engine of `concurrency` runners with a pipe each, as inference hosts have: a batch stays with the runner it was given to. Its answers
 * are exact, its time is simulated: what the cost says, times the disturbance.
 */
export function simulatedEngine(clock: SimulatedClock, options: EngineOptions): SimulatedEngine {
  const { cost, concurrency = 1, depth = 1, disturbance = () => 1, fail } = options;
  const ran: RanBatch[] = [];
  const runners = Array.from({ length: concurrency }, (_, index): Runner => ({ index, pipe: [] }));
  let busyMs = 0;
  const land = (runner: Runner) => {
    runner.pipe.shift();
    runner.pipe[0]?.start(runner);
  };
  const run = (key: string, rows: readonly FakeRow[], done: (inferMs: number, runner: Runner) => void) => {
    return (runner: Runner) => {
      ran.push({ key, rows, startedAt: clock.now() });
      const now = typeof cost === 'function' ? cost() : cost;
      const ms = batchMs(now, rows.length, Math.max(...rows.map((r) => r.ids.length))) * disturbance();
      clock.after(ms, () => {
        busyMs += ms;
        land(runner);
        done(ms, runner);
      });
    };
  };
  return {
    concurrency,
    depth,
    ran,
    get busyMs() {
      return busyMs;
    },
    execute(key, rows) {
      const { promise, resolve, reject } = Promise.withResolvers<BatchAnswer>();
      const start = run(key, rows, (inferMs, { index }) => {
        try {
          fail?.(rows);
          resolve({ scores: Float32Array.from(rows, (r) => r.score), inferMs, host: index });
        } catch (error) {
          reject(error);
        }
      });
      const runner = leastBusy(runners);
      runner.pipe.push({ tokens: rows.reduce((sum, r) => sum + r.ids.length, 0), start });
      if (runner.pipe.length === 1) start(runner);
      return promise;
    },
  };
}
