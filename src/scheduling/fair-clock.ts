import { Heap } from './heap.ts';

/** A job in the simulated server that shares itself equally among all jobs. */
export interface FairTicket {
  /** Virtual time at which the job would finish if all jobs shared the executor equally. */
  readonly finish: number;
}

/**
 * The virtual time of a server that shares itself equally among its jobs (weighted fair queueing: Demers, Keshav and Shenker, SIGCOMM
 * 1989). Serving real jobs in the order of their virtual finish (fair sojourn protocol: Friedman and Henderson, SIGMETRICS 2003) finishes
 * every job no later than equal sharing would. So ten passages never wait for a thousand. A thousand are never starved by a stream of tens:
 * every unit of work served advances virtual time, and later jobs finish later. There are no weights to tune.
 *
 * The clock advances by work served, not by time, so it needs no estimate of the executor's speed.
 */
export class FairClock {
  #virtual = 0;
  readonly #active = new Heap<FairTicket>((a, b) => a.finish < b.finish);

  /** Adds a job of `work` units. */
  arrive(work: number): FairTicket {
    const ticket = { finish: this.#virtual + work };
    this.#active.push(ticket);
    return ticket;
  }

  /** Returns the virtual finish that a job of `work` units would get now. */
  preview(work: number): number {
    return this.#virtual + work;
  }

  /** Advances virtual time by `work` units served, of any job. */
  serve(work: number): void {
    let left = work;
    for (let first = this.#active.peek(); first !== undefined; first = this.#active.peek()) {
      const untilFirst = (first.finish - this.#virtual) * this.#active.size;
      if (untilFirst > left) {
        this.#virtual += left / this.#active.size;
        return;
      }
      left -= untilFirst;
      this.#virtual = first.finish;
      this.#active.pop();
    }
  }

  /** Removes a job that was not finished. */
  leave(ticket: FairTicket): void {
    this.#active.remove(ticket);
  }

  /** Removes all jobs. Call it when none is left, to clear rounding errors. */
  reset(): void {
    this.#active.clear();
  }
}
