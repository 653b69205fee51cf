import { WinnowError } from '../errors.ts';
import type { Batch } from './batch-former.ts';
import { createQueuedJob, NO_SHARE, type QueuedJob, type WorkRate } from './queued-job.ts';
import type { BatchAnswer, Job, JobResult, SchedulableRow } from './scheduling-types.ts';

type Outcome = 'pending' | 'done' | 'failed';

/** One submitted job with its promise and the scores that have arrived. Settles once and ignores what arrives later. */
export class Ticket<Row extends SchedulableRow> {
  readonly job: Job<Row>;
  readonly submittedAt: number;
  readonly promise: Promise<JobResult>;
  /** The same job in the queue; set right after construction. */
  queued!: QueuedJob<Ticket<Row>>;
  /** Predicted milliseconds from submission to the end; 0 without a prediction. */
  predictedMs = 0;
  /** Values of all rows; made with the first batch, which shows how many a row has. */
  #scores: Float32Array | undefined;
  /** Bytes of all rows, where they are answered by bytes. */
  #pieces: Uint8Array[] | undefined;
  readonly #resolve: (result: JobResult) => void;
  readonly #reject: (error: unknown) => void;
  #outcome: Outcome = 'pending';
  #missing: number;
  #queueMs = 0;
  #inferMs = 0;
  #batches = 0;
  #stopListening: () => void = () => {};

  constructor(job: Job<Row>, submittedAt: number) {
    this.job = job;
    this.submittedAt = submittedAt;
    this.#missing = job.rows.length;
    const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get settled(): boolean {
    return this.#outcome !== 'pending';
  }

  /** Calls back when the job's signal aborts before the job settles. */
  onAbort(call: () => void): void {
    const { signal } = this.job;
    if (!signal) return;
    signal.addEventListener('abort', call, { once: true });
    this.#stopListening = () => signal.removeEventListener('abort', call);
  }

  /** Copies this job's scores from a batch. Returns whether all scores of the job have arrived. */
  deliver(batch: Batch<Ticket<Row>>, { scores, pieces, inferMs }: BatchAnswer, startedAt: number): boolean {
    const waitedMs = startedAt - this.submittedAt;
    this.#queueMs = this.#batches === 0 ? waitedMs : Math.min(this.#queueMs, waitedMs);
    this.#batches++;
    const width = scores.length / batch.rows.length;
    this.#scores ??= new Float32Array(this.job.rows.length * width);
    if (pieces) this.#pieces ??= new Array<Uint8Array>(this.job.rows.length);
    const all = this.#scores;
    batch.rows.forEach((row, i) => {
      if (row.job !== this.queued) return;
      if (pieces) this.#pieces![row.index] = pieces[i]!;
      else if (width === 1) all[row.index] = scores[i]!;
      else all.set(scores.subarray(i * width, (i + 1) * width), row.index * width);
      this.#inferMs += (inferMs * row.length) / Math.max(1, batch.tokens);
      this.#missing--;
    });
    return this.#missing === 0;
  }

  complete(): void {
    if (this.settled) return;
    this.#outcome = 'done';
    this.#stopListening();
    this.#resolve({
      scores: this.#scores ?? new Float32Array(0),
      ...(this.#pieces && { pieces: this.#pieces }),
      queueMs: this.#queueMs,
      inferMs: this.#inferMs,
      batches: this.#batches,
    });
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#outcome = 'failed';
    this.#stopListening();
    this.#reject(error);
  }

  expired(): WinnowError {
    return new WinnowError('deadline_exceeded', { deadlineMs: Math.round(this.job.deadline - this.submittedAt) });
  }
}

/** Makes the job of a ticket as the queue holds it. @param sequence order of submission. */
export function queueTicket<Row extends SchedulableRow>(
  ticket: Ticket<Row>,
  sequence: number,
  rate: WorkRate,
): QueuedJob<Ticket<Row>> {
  const { key, lane, share = NO_SHARE, rows, priority = 0, deadline } = ticket.job;
  const lengths = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) lengths[i] = rows[i]!.ids.length;
  const facts = { owner: ticket, sequence, key, share, lane, priority, deadline, lengths, rate };
  return createQueuedJob({ ...facts, arrived: ticket.submittedAt });
}

/** A batch whose rows belong to submitted jobs. */
export type TicketBatch<Row extends SchedulableRow> = Batch<Ticket<Row>>;

export function ticketsOf<Row extends SchedulableRow>(batch: TicketBatch<Row>): Set<Ticket<Row>> {
  return new Set(batch.rows.map((row) => row.job.owner));
}

/** Returns the rows of one job in a batch as a batch of its own. */
export function batchOf<Row extends SchedulableRow>(ticket: Ticket<Row>, batch: TicketBatch<Row>): TicketBatch<Row> {
  const rows = batch.rows.filter((row) => row.job.owner === ticket);
  const length = rows.reduce((longest, row) => Math.max(longest, row.length), 0);
  const tokens = rows.reduce((sum, row) => sum + row.length, 0);
  return { ...batch, lead: ticket.queued, rows, length, tokens, paddedTokens: rows.length * length };
}
