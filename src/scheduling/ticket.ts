import { WinnowError } from '../errors.ts';
import type { Batch } from './batch-former.ts';
import type { QueuedJob } from './queued-job.ts';
import type { Job, JobResult, SchedulableRow } from './scheduling-types.ts';

type Outcome = 'pending' | 'done' | 'failed';

/** One submitted job with its promise and what has come back so far. Settles once; what comes later is ignored. */
export class Ticket<Row extends SchedulableRow> {
  readonly job: Job<Row>;
  readonly submittedAt: number;
  readonly promise: Promise<JobResult>;
  /** Set right after construction; the queue's view of the same job. */
  queued!: QueuedJob<Ticket<Row>>;
  /** From submission to the end, as predicted; 0 where there was nothing to predict. */
  predictedMs = 0;
  readonly #scores: Float32Array;
  readonly #resolve: (result: JobResult) => void;
  readonly #reject: (error: unknown) => void;
  #outcome: Outcome = 'pending';
  #missing: number;
  #queueMs = 0;
  #inferMs = 0;
  #batches = 0;
  #detach: () => void = () => {};

  constructor(job: Job<Row>, submittedAt: number) {
    this.job = job;
    this.submittedAt = submittedAt;
    this.#scores = new Float32Array(job.rows.length);
    this.#missing = job.rows.length;
    const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get settled(): boolean {
    return this.#outcome !== 'pending';
  }

  /** Calls `onAbort` when the job's signal aborts before it settles. */
  listen(onAbort: () => void): void {
    const { signal } = this.job;
    if (!signal) return;
    signal.addEventListener('abort', onAbort, { once: true });
    this.#detach = () => signal.removeEventListener('abort', onAbort);
  }

  /** Takes this job's scores out of a batch. Whether the job is complete with it. */
  deliver(batch: Batch<Ticket<Row>>, scores: Float32Array, inferMs: number, startedAt: number): boolean {
    const waited = startedAt - this.submittedAt;
    this.#queueMs = this.#batches === 0 ? waited : Math.min(this.#queueMs, waited);
    this.#batches++;
    batch.rows.forEach((row, i) => {
      if (row.job !== this.queued) return;
      this.#scores[row.index] = scores[i]!;
      this.#inferMs += (inferMs * row.length) / Math.max(1, batch.tokens);
      this.#missing--;
    });
    return this.#missing === 0;
  }

  complete(): void {
    if (this.settled) return;
    this.#outcome = 'done';
    this.#detach();
    this.#resolve({
      scores: this.#scores,
      queueMs: this.#queueMs,
      inferMs: this.#inferMs,
      batches: this.#batches,
    });
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#outcome = 'failed';
    this.#detach();
    this.#reject(error);
  }

  expired(): WinnowError {
    return new WinnowError('deadline_exceeded', { deadlineMs: Math.round(this.job.deadline - this.submittedAt) });
  }
}

/** A batch of submitted jobs' rows. */
export type Tickets<Row extends SchedulableRow> = Batch<Ticket<Row>>;

export function ticketsOf<Row extends SchedulableRow>(batch: Tickets<Row>): Set<Ticket<Row>> {
  return new Set(batch.rows.map((row) => row.job.owner));
}

/** The rows of one job in a batch, as a batch of its own. */
export function only<Row extends SchedulableRow>(batch: Tickets<Row>, ticket: Ticket<Row>): Tickets<Row> {
  const rows = batch.rows.filter((row) => row.job.owner === ticket);
  const length = rows.reduce((longest, row) => Math.max(longest, row.length), 0);
  const tokens = rows.reduce((sum, row) => sum + row.length, 0);
  return { ...batch, lead: ticket.queued, rows, length, tokens, paddedTokens: rows.length * length };
}
