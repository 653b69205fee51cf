import { FairClock, type FairTicket } from './fair-clock.ts';

/** A job in the shares: whose it is, and its virtual finish among the jobs of its share. */
export interface SharedJob {
  readonly share: string;
  readonly finish: number;
}

/** A job that has not arrived. */
export interface NewShare {
  /** Virtual finish among the jobs of its share. */
  readonly finish: number;
  /** Whether equal sharing finishes it before `job`. */
  finishesBefore(job: SharedJob): boolean;
}

/**
 * Virtual time in two levels: shares (the keys of callers) divide the executor equally, and the jobs of a share divide its part equally (fair-clock.ts).
 * So a thousand jobs of one key slow a job of another key as one job would. Jobs of one share are in the order of their virtual finish; jobs
 * of two shares in the order of the work that their shares get until they are done.
 */
export class ShareClock {
  readonly #shares = new Map<string, FairClock>();
  /** Work served that the shares have not been credited with. */
  #served = 0;

  arrive(share: string, work: number): FairTicket {
    return this.#of(share).arrive(work);
  }

  preview(share: string, work: number): NewShare {
    const own = this.#of(share);
    const finish = own.preview(work);
    // By share: jobs that finish later than this are done when the share has got more work than the new job's share needs.
    const limits = new Map([[share, finish]]);
    const limitOf = (other: string) => {
      const needed = own.workUntil(finish) + work;
      const limit = this.#shares.get(other)?.finishAfter(needed) ?? Number.POSITIVE_INFINITY;
      limits.set(other, limit);
      return limit;
    };
    return { finish, finishesBefore: (job) => job.finish > (limits.get(job.share) ?? limitOf(job.share)) };
  }

  /** Returns the units that equal sharing has still to do of a job. */
  left({ share, finish }: SharedJob): number {
    return this.#of(share).left(finish);
  }

  /** Advances virtual time by `work` units served, of any job. */
  serve(work: number): void {
    this.#served += work;
  }

  /** Removes a job that was not finished. */
  leave(share: string, ticket: FairTicket): void {
    this.#of(share).leave(ticket);
  }

  /** Removes all jobs. Call it when none is left. */
  reset(): void {
    this.#shares.clear();
    this.#served = 0;
  }

  #of(share: string): FairClock {
    this.#credit();
    const found = this.#shares.get(share) ?? new FairClock();
    this.#shares.set(share, found);
    return found;
  }

  /** Divides the work served among the shares that have jobs. What one does not need goes to the others. */
  #credit(): void {
    let left = this.#served;
    this.#served = 0;
    while (left > 0) {
      const sharing = [...this.#shares.values()].filter(({ size }) => size > 0);
      if (sharing.length === 0) return;
      const each = left / sharing.length;
      left = sharing.reduce((rest, share) => rest + share.serve(each), 0);
    }
  }
}
