import { Heap } from './heap.ts';

/** A job's place in the imagined processor-sharing server. */
export interface FairTicket {
  /** Virtual time at which the job would be done if all jobs shared the engine equally. */
  readonly finish: number;
}

/**
 * Virtual time of a server that shares itself equally among all jobs it has (weighted fair queueing: Demers, Keshav and Shenker,
 * SIGCOMM 1989). Serving real jobs in the order of their virtual finish (the fair sojourn protocol: Friedman and Henderson, SIGMETRICS
 * 2003) has each job done no later than equal sharing would: ten passages never wait for a thousand, and a thousand are never starved by
 * a stream of tens, since every unit of work served moves virtual time on and later jobs only finish later. No weights to tune.
 *
 * The clock is driven by work actually served, not by time, so it needs no estimate of the engine's speed.
 */
export class FairClock {
  #virtual = 0;
  readonly #active = new Heap<FairTicket>((a, b) => a.finish < b.finish);

  /** A job of `work` units comes. */
  arrive(work: number): FairTicket {
    const ticket = { finish: this.#virtual + work };
    this.#active.push(ticket);
    return ticket;
  }

  /** Virtual finish a job of `work` units would get now. */
  preview(work: number): number {
    return this.#virtual + work;
  }

  /** `work` units were served, whoever got them. */
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

  /** A job went away before it was done. */
  leave(ticket: FairTicket): void {
    this.#active.remove(ticket);
  }

  /** Nothing is left to serve: forget what rounding left over. */
  reset(): void {
    this.#active.clear();
  }
}
