import { LaneQueue } from './lane-queue.ts';
import type { QueuedJob, QueuedRow } from './queued-job.ts';
import { LANES, type Lane } from './types.ts';

/** From which lane to which jobs rise after `agingMs`. Shadow work never does: it must not delay anybody, however long it waits. */
const RISES: readonly (readonly [from: Lane, to: Lane])[] = [['batch', 'interactive']];

/** First place in the jobs sorted by deadline that comes after `deadline`. */
function placeAfter<Owner>(jobs: readonly QueuedJob<Owner>[], deadline: number): number {
  let low = 0;
  let high = jobs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (jobs[middle]!.deadline <= deadline) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Everything that waits: a queue a lane, and all jobs with a deadline in its order. Knows no clock, promise or engine. */
export class WaitingJobs<Owner> {
  readonly #lanes: Readonly<Record<Lane, LaneQueue<Owner>>>;
  readonly #byDeadline: QueuedJob<Owner>[] = [];
  readonly #agingMs: number;

  constructor(options: { readonly agingMs: number; readonly parallelism: number }) {
    const { parallelism } = options;
    this.#agingMs = options.agingMs;
    this.#lanes = {
      interactive: new LaneQueue(parallelism),
      batch: new LaneQueue(parallelism),
      shadow: new LaneQueue(parallelism),
    };
  }

  lane(lane: Lane): LaneQueue<Owner> {
    return this.#lanes[lane];
  }

  get rows(): number {
    return LANES.reduce((sum, lane) => sum + this.#lanes[lane].rows, 0);
  }

  get tokens(): number {
    return LANES.reduce((sum, lane) => sum + this.#lanes[lane].tokens, 0);
  }

  get jobs(): number {
    return LANES.reduce((sum, lane) => sum + this.#lanes[lane].jobs, 0);
  }

  /** Jobs with a deadline and rows that wait, earliest first. */
  get byDeadline(): readonly QueuedJob<Owner>[] {
    return this.#byDeadline;
  }

  add(job: QueuedJob<Owner>): void {
    this.#lanes[job.lane].add(job);
    if (job.deadline < Number.POSITIVE_INFINITY)
      this.#byDeadline.splice(placeAfter(this.#byDeadline, job.deadline), 0, job);
  }

  /** Takes out what of a job waits; harmless where nothing does. */
  remove(job: QueuedJob<Owner>): void {
    if (job.waitingRows === 0) return;
    this.#lanes[job.lane].remove(job);
    job.waitingRows = 0;
    job.waitingTokens = 0;
    job.work = 0;
    for (const row of job.rows) row.waiting = false;
    this.#dropDeadline(job);
  }

  take(row: QueuedRow<Owner>): void {
    this.#lanes[row.job.lane].take(row);
    if (row.job.waitingRows === 0) this.#dropDeadline(row.job);
  }

  /** The job that leads the next batch, of the highest lane with any. Jobs that have waited long enough rise to the next lane before. */
  lead(now: number): QueuedJob<Owner> | undefined {
    for (const [from, to] of RISES)
      for (let job = this.#senior(from, now); job; job = this.#senior(from, now)) this.#rise(job, to, now);
    const lane = LANES.find((candidate) => this.#lanes[candidate].rows > 0);
    return lane && this.#lanes[lane].lead(now, this.#agingMs);
  }

  /** Work in front of a job that came now: the higher lanes' and, in its own, what its order puts first. */
  workAhead(lane: Lane, priority: number, work: number): number {
    let ahead = this.#lanes[lane].workAhead(priority, work);
    for (const higher of LANES) {
      if (higher === lane) break;
      ahead += this.#lanes[higher].work;
    }
    return ahead;
  }

  #senior(lane: Lane, now: number): QueuedJob<Owner> | undefined {
    return this.#lanes[lane].senior(now - this.#agingMs);
  }

  #rise(job: QueuedJob<Owner>, to: Lane, now: number): void {
    this.#lanes[job.lane].remove(job);
    job.lane = to;
    job.entered = now;
    this.#lanes[to].add(job);
  }

  #dropDeadline(job: QueuedJob<Owner>): void {
    if (job.deadline === Number.POSITIVE_INFINITY) return;
    let place = placeAfter(this.#byDeadline, job.deadline) - 1;
    while (this.#byDeadline[place] !== job) place--;
    this.#byDeadline.splice(place, 1);
  }
}
