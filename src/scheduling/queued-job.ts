import type { Cost } from './cost-model.ts';
import type { FairTicket } from './fair-clock.ts';
import type { Lane } from './scheduling-types.ts';

/** One row of a job, waiting or in a batch. `Owner` is a value of the queue's user. */
export interface QueuedRow<Owner> {
  readonly job: QueuedJob<Owner>;
  /** Index in the job as submitted. */
  readonly index: number;
  /** Tokens. */
  readonly length: number;
  waiting: boolean;
}

/** Work of a row in milliseconds of one runner: linear · length + square · length². */
export interface WorkRate {
  readonly linear: number;
  readonly square: number;
}

/** A submitted job in the queue. */
export interface QueuedJob<Owner> {
  readonly owner: Owner;
  /** Order of submission; decides ties. */
  readonly sequence: number;
  readonly key: string;
  /** Whose job it is: shares divide a lane equally. */
  readonly share: string;
  readonly priority: number;
  readonly arrived: number;
  readonly deadline: number;
  readonly rate: WorkRate;
  /** The rows, longest first. */
  readonly rows: readonly QueuedRow<Owner>[];
  /** The present lane; aging moves a job up. */
  lane: Lane;
  /** When it entered that lane. */
  entered: number;
  /** No row before this index waits. */
  cursor: number;
  waitingRows: number;
  waitingTokens: number;
  /** Predicted milliseconds of one runner for the waiting rows. */
  work: number;
  ticket: FairTicket | undefined;
  /** Virtual finish among the jobs of its share (ShareClock). */
  finish: number;
  /** Whether it can no longer meet its deadline and was moved to the end of the order. */
  late: boolean;
}

/** The share of jobs without one. */
export const NO_SHARE = '';

interface JobFacts<Owner> {
  readonly owner: Owner;
  readonly sequence: number;
  readonly key: string;
  /** Default: the share of all jobs without one. */
  readonly share?: string;
  readonly lane: Lane;
  readonly priority: number;
  readonly arrived: number;
  readonly deadline: number;
  /** Token counts, in the order of submission. */
  readonly lengths: ArrayLike<number>;
  readonly rate: WorkRate;
}

/** Returns a model's rates. The fixed cost of a batch is divided by the tokens of a typical batch. */
export function workRate(cost: Cost, batchTokens: number): WorkRate {
  return { linear: cost.perToken + cost.fixed / batchTokens, square: cost.perSquare };
}

export function rowWork(rate: WorkRate, length: number): number {
  return length * (rate.linear + rate.square * length);
}

/** Returns indexes by descending length, ties by ascending index. Sorting numbers natively is five times as fast as with a comparator. */
function longestFirst(lengths: ArrayLike<number>): Float64Array {
  const count = lengths.length;
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = i - lengths[i]! * count;
  keys.sort();
  for (let i = 0; i < count; i++) keys[i] = ((keys[i]! % count) + count) % count;
  return keys;
}

export function createQueuedJob<Owner>(facts: JobFacts<Owner>): QueuedJob<Owner> {
  const { lengths, rate } = facts;
  const rows: QueuedRow<Owner>[] = [];
  const job: QueuedJob<Owner> = {
    owner: facts.owner,
    sequence: facts.sequence,
    key: facts.key,
    share: facts.share ?? NO_SHARE,
    priority: facts.priority,
    arrived: facts.arrived,
    deadline: facts.deadline,
    rate,
    rows,
    lane: facts.lane,
    entered: facts.arrived,
    cursor: 0,
    waitingRows: lengths.length,
    waitingTokens: 0,
    work: 0,
    ticket: undefined,
    finish: 0,
    late: false,
  };
  for (const index of longestFirst(lengths)) {
    const length = lengths[index]!;
    rows.push({ job, index, length, waiting: true });
    job.waitingTokens += length;
    job.work += rowWork(rate, length);
  }
  return job;
}

/** Returns the longest row that still waits; the job must have one. */
export function longestWaiting<Owner>(job: QueuedJob<Owner>): QueuedRow<Owner> {
  while (!job.rows[job.cursor]!.waiting) job.cursor++;
  return job.rows[job.cursor]!;
}
