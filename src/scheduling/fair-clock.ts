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
  /** The jobs that equal sharing has not finished, by their finish. */
  readonly #active: FairTicket[] = [];
  /** Sums of the finishes of the first jobs of `#active`; made when they are needed. */
  #sums: Float64Array | undefined;

  /** Jobs that equal sharing has not finished. */
  get size(): number {
    return this.#active.length;
  }

  /** Returns the units that equal sharing has still to do of a job with this virtual finish. */
  left(finish: number): number {
    return Math.max(0, finish - this.#virtual);
  }

  /** Adds a job of `work` units. */
  arrive(work: number): FairTicket {
    const ticket = { finish: this.#virtual + work };
    this.#active.splice(this.#countUntil(ticket.finish), 0, ticket);
    this.#sums = undefined;
    return ticket;
  }

  /** Returns the virtual finish that a job of `work` units would get now. */
  preview(work: number): number {
    return this.#virtual + work;
  }

  /** Advances virtual time by `work` units served, of any job. Returns the units left when all jobs are finished. */
  serve(work: number): number {
    let left = work;
    let done = 0;
    for (; done < this.#active.length; done++) {
      const sharing = this.#active.length - done;
      const { finish } = this.#active[done]!;
      const untilFinish = (finish - this.#virtual) * sharing;
      if (untilFinish > left) {
        this.#virtual += left / sharing;
        left = 0;
        break;
      }
      left -= untilFinish;
      this.#virtual = finish;
    }
    if (done > 0) {
      this.#active.splice(0, done);
      this.#sums = undefined;
    }
    return left;
  }

  /** Returns the units that all jobs together get until one with this virtual finish is done; those of a job not added are extra. */
  workUntil(finish: number): number {
    const left = finish - this.#virtual;
    if (left <= 0) return 0;
    const before = this.#countUntil(finish);
    const sums = this.#finishSums();
    return sums[before]! - before * this.#virtual + (this.#active.length - before) * left;
  }

  /** Returns the virtual finish of a job that would be done when all jobs together have got this work; the inverse of `workUntil`. */
  finishAfter(work: number): number {
    const sums = this.#finishSums();
    const count = this.#active.length;
    const workOf = (i: number) =>
      sums[i]! - i * this.#virtual + (count - i) * (this.#active[i]!.finish - this.#virtual);
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (workOf(middle) <= work) low = middle + 1;
      else high = middle;
    }
    if (low === count) return Number.POSITIVE_INFINITY;
    return this.#virtual + (work - (sums[low]! - low * this.#virtual)) / (count - low);
  }

  /** Removes a job that was not finished. */
  leave(ticket: FairTicket): void {
    let index = this.#countUntil(ticket.finish) - 1;
    while (index >= 0 && this.#active[index] !== ticket && this.#active[index]!.finish === ticket.finish) index--;
    if (this.#active[index] !== ticket) return;
    this.#active.splice(index, 1);
    this.#sums = undefined;
  }

  /** Removes all jobs. Call it when none is left, to clear rounding errors. */
  reset(): void {
    this.#active.length = 0;
    this.#sums = undefined;
  }

  /** Counts the jobs with at most this finish, by bisection. */
  #countUntil(finish: number): number {
    let low = 0;
    let high = this.#active.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#active[middle]!.finish <= finish) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #finishSums(): Float64Array {
    if (this.#sums) return this.#sums;
    const sums = new Float64Array(this.#active.length + 1);
    for (let i = 0; i < this.#active.length; i++) sums[i + 1] = sums[i]! + this.#active[i]!.finish;
    this.#sums = sums;
    return sums;
  }
}
