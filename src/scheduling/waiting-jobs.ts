import { LaneQueue } from './lane-queue.ts';
import type { QueuedJob, QueuedRow } from './queued-job.ts';
import { LANES, type Lane } from './scheduling-types.ts';
import type { Outlook, Place } from './service-order.ts';

/** From which lane to which jobs rise after `agingMs`. Shadow work never does: it must not delay anybody, however long it waits. */
const RISES: readonly (readonly [from: Lane, to: Lane])[] = [['batch', 'interactive']];

/** How busy the engine is. */
export interface EngineLoad {
  readonly now: number;
  /** Work (milliseconds of one runner) done in a millisecond. */
  readonly speed: number;
  /** A runner has nothing to do. */
  readonly idle: boolean;
  /** Work handed to the engine and not done yet. */
  readonly inFlight: number;
}

/** Everything that waits, a queue a lane. Knows no clock, promise or engine. */
export class WaitingJobs<Owner> {
  readonly #lanes: Readonly<Record<Lane, LaneQueue<Owner>>> = {
    interactive: new LaneQueue(),
    batch: new LaneQueue(),
    shadow: new LaneQueue(),
  };
  readonly #agingMs: number;

  /** @param agingMs wait after which the batch lane counts as interactive, and a job gets its share of batches by age. */
  constructor(agingMs: number) {
    this.#agingMs = agingMs;
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

  /** Where a job would go, and the work in front of it there. */
  place(job: Pick<QueuedJob<Owner>, 'lane' | 'priority' | 'work' | 'deadline'>, load: EngineLoad): Place {
    return this.#lanes[job.lane].place(job, this.#outlook(job.lane, load));
  }

  add(job: QueuedJob<Owner>, load: EngineLoad): void {
    this.#lanes[job.lane].add(job, this.#outlook(job.lane, load));
  }

  /** Takes out what of a job waits; harmless where nothing does. */
  remove(job: QueuedJob<Owner>): void {
    if (job.waitingRows === 0) return;
    this.#lanes[job.lane].remove(job);
    job.waitingRows = 0;
    job.waitingTokens = 0;
    job.work = 0;
    for (const row of job.rows) row.waiting = false;
  }

  take(row: QueuedRow<Owner>): void {
    this.#lanes[row.job.lane].take(row);
  }

  /** The job that leads the next batch, of the highest lane with any. Jobs that have waited long enough rise to the next lane before. */
  lead(load: EngineLoad): QueuedJob<Owner> | undefined {
    const since = load.now - this.#agingMs;
    for (const [from, to] of RISES)
      for (let job = this.#lanes[from].senior(since); job; job = this.#lanes[from].senior(since))
        this.#rise(job, to, load);
    const lane = LANES.find((candidate) => this.#lanes[candidate].rows > 0);
    return lane && this.#lanes[lane].lead(this.#outlook(lane, load), this.#agingMs);
  }

  #outlook(lane: Lane, { now, speed, inFlight }: EngineLoad): Outlook {
    let before = inFlight;
    for (const higher of LANES) {
      if (higher === lane) break;
      before += this.#lanes[higher].work;
    }
    return { now, speed, before };
  }

  #rise(job: QueuedJob<Owner>, to: Lane, load: EngineLoad): void {
    this.#lanes[job.lane].remove(job);
    job.lane = to;
    job.entered = load.now;
    this.add(job, load);
  }
}
