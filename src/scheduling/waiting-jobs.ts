import { LaneQueue } from './lane-queue.ts';
import type { QueuedJob, QueuedRow } from './queued-job.ts';
import { LANES, type Lane } from './scheduling-types.ts';
import type { LaneLoad, Place } from './service-order.ts';

/** Which lane's jobs move to which lane after `agingMs`. Shadow jobs never move: they must not delay other work. */
const PROMOTIONS: readonly (readonly [from: Lane, to: Lane])[] = [['batch', 'interactive']];

/** How busy the executor is. Work is in milliseconds of one runner. */
export interface ExecutorLoad {
  readonly now: number;
  /** Work done in a millisecond. */
  readonly speed: number;
  /** Whether a runner has no batch. */
  readonly idle: boolean;
  /** Work handed to the executor and not finished. */
  readonly inFlight: number;
}

/** All waiting jobs, one queue a lane. Contains no clock, promises or timers. */
export class WaitingJobs<Owner> {
  readonly #lanes: Readonly<Record<Lane, LaneQueue<Owner>>> = {
    interactive: new LaneQueue(),
    batch: new LaneQueue(),
    shadow: new LaneQueue(),
  };
  readonly #agingMs: number;

  /** @param agingMs Wait after which batch jobs move to the interactive lane, and a job may lead batches by age. */
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

  /** Returns the waiting tokens of a share, over all lanes. */
  tokensOf(share: string): number {
    return LANES.reduce((sum, lane) => sum + this.#lanes[lane].tokensOf(share), 0);
  }

  get jobs(): number {
    return LANES.reduce((sum, lane) => sum + this.#lanes[lane].jobs, 0);
  }

  /** Returns where a job would go in its lane, and the work in front of it. */
  place(job: Pick<QueuedJob<Owner>, 'lane' | 'share' | 'priority' | 'work' | 'deadline'>, load: ExecutorLoad): Place {
    return this.#lanes[job.lane].place(job, this.laneLoad(job.lane, load));
  }

  add(job: QueuedJob<Owner>, load: ExecutorLoad): void {
    this.#lanes[job.lane].add(job, this.laneLoad(job.lane, load));
  }

  /** Removes the waiting rows of a job; does nothing if there are none. */
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

  /** Returns the job that leads the next batch, from the highest lane that has one. First moves aged jobs to the next lane up. */
  lead(load: ExecutorLoad): QueuedJob<Owner> | undefined {
    const since = load.now - this.#agingMs;
    for (const [from, to] of PROMOTIONS)
      for (let job = this.#lanes[from].oldest(since); job; job = this.#lanes[from].oldest(since))
        this.#promote(job, to, load);
    const lane = LANES.find((candidate) => this.#lanes[candidate].rows > 0);
    return lane && this.#lanes[lane].lead(this.laneLoad(lane, load), this.#agingMs);
  }

  /** Returns how busy the executor is from the point of view of one lane. */
  laneLoad(lane: Lane, { now, speed, inFlight }: ExecutorLoad): LaneLoad {
    let workBefore = inFlight;
    for (const higher of LANES) {
      if (higher === lane) break;
      workBefore += this.#lanes[higher].work;
    }
    return { now, speed, workBefore };
  }

  #promote(job: QueuedJob<Owner>, to: Lane, load: ExecutorLoad): void {
    this.#lanes[job.lane].remove(job);
    job.lane = to;
    job.entered = load.now;
    this.add(job, load);
  }
}
