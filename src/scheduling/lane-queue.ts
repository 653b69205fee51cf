import { Heap } from './heap.ts';
import { type QueuedJob, type QueuedRow, rowWork } from './queued-job.ts';
import { isLate, type LaneLoad, type Place, placeIn } from './service-order.ts';
import { ShareClock } from './share-clock.ts';

/**
 * One batch of so many is led by the oldest job, once it has waited for `agingMs`, whatever its place in the order. Under overload, equal
 * sharing and priorities alone would starve a large or unimportant job: its share goes to zero as more jobs arrive.
 */
const AGE_LED_EVERY = 4;

/** The waiting jobs of one lane, of all models, in the order of service (service-order.ts). */
export class LaneQueue<Owner> {
  /** May contain jobs without waiting rows while `#hasServedJobs` is set. */
  #order: QueuedJob<Owner>[] = [];
  #hasServedJobs = false;
  readonly #byAge = new Heap<QueuedJob<Owner>>(
    (a, b) => a.entered < b.entered || (a.entered === b.entered && a.sequence < b.sequence),
  );
  readonly #clock = new ShareClock();
  #batchesFormed = 0;
  /** The job that leads the present batch by age. What it gets does not count in the fair clock. */
  #ageLed: QueuedJob<Owner> | undefined;
  /** Waiting tokens of each share that has some. */
  readonly #tokensOf = new Map<string, number>();
  rows = 0;
  tokens = 0;
  /** Milliseconds of one runner. */
  work = 0;

  get jobs(): number {
    return this.#byAge.size;
  }

  /** Returns the waiting tokens of a share. */
  tokensOf(share: string): number {
    return this.#tokensOf.get(share) ?? 0;
  }

  /** The jobs in the order of service. */
  get order(): readonly QueuedJob<Owner>[] {
    return this.#currentOrder();
  }

  /** Returns how much more work of a job waits than would if all jobs were served equally; negative for a job that is ahead of equal sharing. */
  lag(job: QueuedJob<Owner>): number {
    return job.work - this.#clock.left(job);
  }

  /** Returns where a job of this share, priority, work and deadline would go. */
  place(job: Pick<QueuedJob<Owner>, 'share' | 'priority' | 'work' | 'deadline'>, load: LaneLoad): Place {
    const { share, priority, work, deadline } = job;
    const { finish, finishesBefore } = this.#clock.preview(share, work);
    return placeIn(this.#currentOrder(), this.work, { priority, work, deadline, finish, finishesBefore }, load);
  }

  add(job: QueuedJob<Owner>, load: LaneLoad): void {
    const { index } = this.place(job, load);
    job.ticket = this.#clock.arrive(job.share, job.work);
    job.finish = job.ticket.finish;
    this.#currentOrder().splice(index, 0, job);
    this.#byAge.push(job);
    this.#count(job.share, job.waitingRows, job.waitingTokens, job.work);
  }

  /** Removes a job with all its waiting rows. */
  remove(job: QueuedJob<Owner>): void {
    if (job.ticket) this.#clock.leave(job.share, job.ticket);
    this.#order.splice(this.#order.indexOf(job), 1);
    this.#byAge.remove(job);
    this.#count(job.share, -job.waitingRows, -job.waitingTokens, -job.work);
  }

  /** Removes a row that goes into a batch. */
  take(row: QueuedRow<Owner>): void {
    const { job } = row;
    const work = rowWork(job.rate, row.length);
    row.waiting = false;
    job.waitingRows--;
    job.waitingTokens -= row.length;
    job.work = job.waitingRows === 0 ? 0 : job.work - work;
    this.#count(job.share, -1, -row.length, -work);
    if (!this.#ageLed) this.#clock.serve(work);
    else if (job.waitingRows === 0 && job.ticket) this.#clock.leave(job.share, job.ticket);
    if (job.waitingRows > 0) return;
    this.#hasServedJobs = true;
    this.#byAge.remove(job);
  }

  /** Returns the job that leads the next batch. Call it once for each batch, because it counts batches. */
  lead(load: LaneLoad, agingMs: number): QueuedJob<Owner> | undefined {
    this.#batchesFormed = (this.#batchesFormed + 1) % AGE_LED_EVERY;
    const first = this.#first(load);
    const oldest = this.#batchesFormed === 0 ? this.oldest(load.now - agingMs) : undefined;
    this.#ageLed = oldest === first ? undefined : oldest;
    return oldest ?? first;
  }

  /** Returns the job that entered first, if it entered at `since` or before. */
  oldest(since: number): QueuedJob<Owner> | undefined {
    const job = this.#byAge.peek();
    return job && job.entered <= since ? job : undefined;
  }

  /** Returns the job that was submitted last. */
  youngest(): QueuedJob<Owner> | undefined {
    let youngest: QueuedJob<Owner> | undefined;
    for (const job of this.#currentOrder()) if (!youngest || job.sequence > youngest.sequence) youngest = job;
    return youngest;
  }

  /** Returns the first job of the order, after moving jobs that would miss their deadline to the end. */
  #first(load: LaneLoad): QueuedJob<Owner> | undefined {
    const order = this.#currentOrder();
    for (let job = order[0]; job && !job.late && isLate(job, load); job = order[0]) {
      job.late = true;
      order.shift();
      order.push(job);
    }
    return order[0];
  }

  /** Returns the order without jobs that have no waiting rows; they are removed together, once a batch. */
  #currentOrder(): QueuedJob<Owner>[] {
    if (this.#hasServedJobs) this.#order = this.#order.filter((job) => job.waitingRows > 0);
    this.#hasServedJobs = false;
    return this.#order;
  }

  #count(share: string, rows: number, tokens: number, work: number): void {
    this.rows += rows;
    this.tokens += tokens;
    this.work = this.rows === 0 ? 0 : this.work + work;
    this.#tokensOf.set(share, this.tokensOf(share) + tokens);
    if (this.rows > 0) return;
    this.#clock.reset();
    this.#tokensOf.clear();
  }
}
