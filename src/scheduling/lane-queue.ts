import { FairClock } from './fair-clock.ts';
import { Heap } from './heap.ts';
import { LengthBuckets } from './length-buckets.ts';
import { type QueuedJob, type QueuedRow, rowWork } from './queued-job.ts';

/**
 * Who leads, batch by batch. `fair` is the rule; deadline pressure takes every second batch at most, the job that waits longest every
 * fourth. Where a turn finds nobody, it falls to the fair order. Under overload equal sharing alone would starve a long job (its share
 * tends to nothing as ever more short ones come), hence the share that goes by age.
 */
const TURNS = ['urgent', 'fair', 'urgent', 'senior'] as const;
const URGENT_SHARE = 2;

/** A job that cannot be done in time even at this multiple of the expected speed is no longer preferred. */
const HOPELESS_SPEED = 2;

/** The smaller priority number, then the earlier virtual finish, then who came first. */
function fairBefore<Owner>(a: QueuedJob<Owner>, b: QueuedJob<Owner>): boolean {
  if (a.priority !== b.priority) return a.priority < b.priority;
  if (a.ticket.finish !== b.ticket.finish) return a.ticket.finish < b.ticket.finish;
  return a.sequence < b.sequence;
}

function seniorBefore<Owner>(a: QueuedJob<Owner>, b: QueuedJob<Owner>): boolean {
  return a.entered < b.entered || (a.entered === b.entered && a.sequence < b.sequence);
}

/**
 * The jobs that wait in one lane, of all models, and the rules which of them leads the next batch:
 *
 * - fair: the smaller priority number, among equals the earlier virtual finish (see FairClock);
 * - urgent: a job that has to be preferred now to make its deadline, the most pressed first;
 * - senior: the job that is here longest, if it has waited for `agingMs`, whatever its priority and size.
 */
export class LaneQueue<Owner> {
  readonly #fair = new Heap<QueuedJob<Owner>>(fairBefore);
  readonly #pressed = new Heap<QueuedJob<Owner>>((a, b) => a.latestStart < b.latestStart);
  readonly #seniority = new Heap<QueuedJob<Owner>>(seniorBefore);
  readonly #buckets = new Map<string, LengthBuckets<QueuedRow<Owner>>>();
  readonly #clock = new FairClock();
  readonly #parallelism: number;
  #turn = 0;
  rows = 0;
  tokens = 0;
  /** Milliseconds of one runner. */
  work = 0;

  /** @param parallelism batches that run side by side. */
  constructor(parallelism: number) {
    this.#parallelism = parallelism;
  }

  get jobs(): number {
    return this.#fair.size;
  }

  buckets(key: string): LengthBuckets<QueuedRow<Owner>> | undefined {
    return this.#buckets.get(key);
  }

  add(job: QueuedJob<Owner>): void {
    job.ticket = this.#clock.arrive(job.work);
    this.#fair.push(job);
    this.#seniority.push(job);
    if (job.deadline < Number.POSITIVE_INFINITY) this.#press(job);
    let buckets = this.#buckets.get(job.key);
    if (!buckets) {
      buckets = new LengthBuckets();
      this.#buckets.set(job.key, buckets);
    }
    for (const row of job.rows) if (row.waiting) buckets.add(row);
    this.#count(job.waitingRows, job.waitingTokens, job.work);
  }

  /** Takes a job out with all rows that wait; they stay marked as waiting. */
  remove(job: QueuedJob<Owner>): void {
    this.#clock.leave(job.ticket);
    this.#forget(job);
    const buckets = this.#buckets.get(job.key)!;
    for (let i = job.cursor; i < job.rows.length; i++) if (job.rows[i]!.waiting) buckets.drop(job.rows[i]!);
    this.#count(-job.waitingRows, -job.waitingTokens, -job.work);
    this.#tidy(job.key, buckets);
  }

  /** A row goes into a batch. */
  take(row: QueuedRow<Owner>): void {
    const { job } = row;
    const buckets = this.#buckets.get(job.key)!;
    const work = rowWork(job.rate, row.length);
    buckets.drop(row);
    row.waiting = false;
    job.waitingRows--;
    job.waitingTokens -= row.length;
    job.work -= work;
    this.#count(-1, -row.length, -work);
    if (job.waitingRows === 0) this.#forget(job);
    this.#clock.serve(work);
    this.#tidy(job.key, buckets);
  }

  /** The job that leads the next batch. Call once a batch: the rules take turns. */
  lead(now: number, agingMs: number): QueuedJob<Owner> | undefined {
    const turn = TURNS[this.#turn]!;
    this.#turn = (this.#turn + 1) % TURNS.length;
    const preferred =
      turn === 'urgent' ? this.#urgent(now) : turn === 'senior' ? this.senior(now - agingMs) : undefined;
    return preferred ?? this.#fair.peek();
  }

  /** The job that is here longest, if it came at `since` or before. */
  senior(since: number): QueuedJob<Owner> | undefined {
    const job = this.#seniority.peek();
    return job && job.entered <= since ? job : undefined;
  }

  youngest(): QueuedJob<Owner> | undefined {
    let youngest: QueuedJob<Owner> | undefined;
    for (const job of this.#fair.items) if (!youngest || job.sequence > youngest.sequence) youngest = job;
    return youngest;
  }

  /** Work in front of a job of this priority and work that came now. */
  workAhead(priority: number, work: number): number {
    const finish = this.#clock.preview(work);
    let ahead = 0;
    for (const job of this.#fair.items)
      if (job.priority < priority || (job.priority === priority && job.ticket.finish <= finish)) ahead += job.work;
    return ahead;
  }

  #urgent(now: number): QueuedJob<Owner> | undefined {
    for (let job = this.#pressed.peek(); job && job.latestStart <= now; job = this.#pressed.peek()) {
      const latest = this.#latestStart(job);
      if (latest > now) {
        this.#pressed.remove(job);
        job.latestStart = latest;
        this.#pressed.push(job);
      } else if (now + job.work / (this.#parallelism * HOPELESS_SPEED) <= job.deadline) return job;
      else this.#pressed.remove(job);
    }
    return undefined;
  }

  /** Under pressure a job gets 1/URGENT_SHARE of the engine, so it has to start that much earlier. */
  #latestStart(job: QueuedJob<Owner>): number {
    return job.deadline - (URGENT_SHARE * job.work) / this.#parallelism;
  }

  #press(job: QueuedJob<Owner>): void {
    job.latestStart = this.#latestStart(job);
    this.#pressed.push(job);
  }

  #forget(job: QueuedJob<Owner>): void {
    this.#fair.remove(job);
    this.#pressed.remove(job);
    this.#seniority.remove(job);
  }

  #count(rows: number, tokens: number, work: number): void {
    this.rows += rows;
    this.tokens += tokens;
    this.work = this.rows === 0 ? 0 : this.work + work;
    if (this.rows === 0) this.#clock.reset();
  }

  #tidy(key: string, buckets: LengthBuckets<QueuedRow<Owner>>): void {
    if (buckets.size === 0) this.#buckets.delete(key);
  }
}
