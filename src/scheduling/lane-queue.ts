import { FairClock } from './fair-clock.ts';
import { Heap } from './heap.ts';
import { type QueuedJob, type QueuedRow, rowWork } from './queued-job.ts';
import { isLost, type Outlook, type Place, placeIn } from './service-order.ts';

/**
 * Every so many batches one is led by the job that is here longest, once it has waited for `agingMs`, whatever its place in the plan.
 * Under overload neither equal sharing nor priorities alone would ever come to a long or unimportant job: its share tends to nothing as
 * ever more others come.
 */
const SENIOR_TURN = 4;

/** The jobs that wait in one lane, of all models, in the order in which they will be served (see plan.ts). */
export class LaneQueue<Owner> {
  /** May hold jobs of which nothing waits any more until it is next looked at. */
  #plan: QueuedJob<Owner>[] = [];
  #stale = false;
  readonly #seniority = new Heap<QueuedJob<Owner>>(
    (a, b) => a.entered < b.entered || (a.entered === b.entered && a.sequence < b.sequence),
  );
  readonly #clock = new FairClock();
  #turn = 0;
  /** The job that leads the present batch by age; what it gets is outside the fair share-out. */
  #senior: QueuedJob<Owner> | undefined;
  rows = 0;
  tokens = 0;
  /** Milliseconds of one runner. */
  work = 0;

  get jobs(): number {
    return this.#seniority.size;
  }

  /** In the order of service. */
  get plan(): readonly QueuedJob<Owner>[] {
    return this.#fresh();
  }

  /** Where a job of this priority, work and deadline would go. */
  place(job: Pick<QueuedJob<Owner>, 'priority' | 'work' | 'deadline'>, outlook: Outlook): Place {
    const { priority, work, deadline } = job;
    return placeIn(this.#fresh(), this.work, { priority, work, deadline, finish: this.#clock.preview(work) }, outlook);
  }

  add(job: QueuedJob<Owner>, outlook: Outlook): void {
    const { index } = this.place(job, outlook);
    job.ticket = this.#clock.arrive(job.work);
    job.finish = job.ticket.finish;
    this.#fresh().splice(index, 0, job);
    this.#seniority.push(job);
    this.#count(job.waitingRows, job.waitingTokens, job.work);
  }

  /** Takes a job out with all rows that wait. */
  remove(job: QueuedJob<Owner>): void {
    if (job.ticket) this.#clock.leave(job.ticket);
    this.#plan.splice(this.#plan.indexOf(job), 1);
    this.#seniority.remove(job);
    this.#count(-job.waitingRows, -job.waitingTokens, -job.work);
  }

  /** A row goes into a batch. */
  take(row: QueuedRow<Owner>): void {
    const { job } = row;
    const work = rowWork(job.rate, row.length);
    row.waiting = false;
    job.waitingRows--;
    job.waitingTokens -= row.length;
    job.work = job.waitingRows === 0 ? 0 : job.work - work;
    this.#count(-1, -row.length, -work);
    if (!this.#senior) this.#clock.serve(work);
    else if (job.waitingRows === 0 && job.ticket) this.#clock.leave(job.ticket);
    if (job.waitingRows > 0) return;
    this.#stale = true;
    this.#seniority.remove(job);
  }

  /** The job that leads the next batch. Call once a batch: every fourth goes by age. */
  lead(outlook: Outlook, agingMs: number): QueuedJob<Owner> | undefined {
    this.#turn = (this.#turn + 1) % SENIOR_TURN;
    const first = this.#first(outlook);
    const senior = this.#turn === 0 ? this.senior(outlook.now - agingMs) : undefined;
    this.#senior = senior === first ? undefined : senior;
    return senior ?? first;
  }

  /** The job that is here longest, if it came at `since` or before. */
  senior(since: number): QueuedJob<Owner> | undefined {
    const job = this.#seniority.peek();
    return job && job.entered <= since ? job : undefined;
  }

  youngest(): QueuedJob<Owner> | undefined {
    let youngest: QueuedJob<Owner> | undefined;
    for (const job of this.#fresh()) if (!youngest || job.sequence > youngest.sequence) youngest = job;
    return youngest;
  }

  /** The head of the plan; those that cannot be in time any more make way for those that can. */
  #first(outlook: Outlook): QueuedJob<Owner> | undefined {
    const plan = this.#fresh();
    for (let job = plan[0]; job && !job.lost && isLost(job, outlook); job = plan[0]) {
      job.lost = true;
      plan.shift();
      plan.push(job);
    }
    return plan[0];
  }

  /** The plan without jobs that are wholly served: dropped once a batch rather than one by one. */
  #fresh(): QueuedJob<Owner>[] {
    if (this.#stale) this.#plan = this.#plan.filter((job) => job.waitingRows > 0);
    this.#stale = false;
    return this.#plan;
  }

  #count(rows: number, tokens: number, work: number): void {
    this.rows += rows;
    this.tokens += tokens;
    this.work = this.rows === 0 ? 0 : this.work + work;
    if (this.rows === 0) this.#clock.reset();
  }
}
