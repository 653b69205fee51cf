import type { WaitingJobs } from './queue.ts';
import type { QueuedJob } from './queued-job.ts';
import { LANES, type Lane } from './types.ts';

export interface AdmissionLimits {
  /** Hard bound on the tokens that wait. */
  readonly queueTokens: number;
  /** Longest predicted wait, in milliseconds. */
  readonly maxWaitMs: number;
}

/** How busy the engine is. */
export interface EngineLoad {
  /** Batches that run side by side. */
  readonly parallelism: number;
  /** One of them has nothing to do. */
  readonly idle: boolean;
  /** Work handed to the engine and not done yet, in milliseconds of one runner. */
  readonly inFlight: number;
}

export interface Refusal {
  /** Predicted wait in milliseconds. */
  readonly waitMs: number;
  /** After how many milliseconds a try has a chance. */
  readonly retryMs: number;
}

/** Share of the engine's predicted speed that promises may count on; the rest is for batches that cannot be interrupted and for errors. */
const PROMISED_SHARE = 0.9;

/** Predicted milliseconds until a job of this lane, priority and work that came now would start. */
export function predictedWait<Owner>(
  waiting: WaitingJobs<Owner>,
  load: EngineLoad,
  lane: Lane,
  priority: number,
  work: number,
): number {
  const ahead = waiting.workAhead(lane, priority, work);
  return load.idle && ahead === 0 ? 0 : (load.inFlight + ahead) / load.parallelism;
}

const rank = (lane: Lane) => LANES.indexOf(lane);

/**
 * By how many milliseconds `work` more, due at `deadline`, would break a promise already given: for each job due later, all work due
 * until then must fit before its deadline (the test of earliest-deadline-first scheduling). A promise that cannot be kept anyway binds
 * nobody.
 */
function brokenPromise<Owner>(
  waiting: WaitingJobs<Owner>,
  load: EngineLoad,
  job: { readonly lane: Lane; readonly work: number; readonly deadline: number },
  now: number,
): number {
  let due = load.inFlight;
  let worst = 0;
  for (const other of waiting.byDeadline) {
    if (rank(other.lane) > rank(job.lane)) continue;
    due += other.work;
    if (other.deadline < job.deadline) continue;
    const room = (other.deadline - now) * load.parallelism * PROMISED_SHARE;
    if (due <= room) worst = Math.max(worst, due + job.work - room);
  }
  return worst / load.parallelism;
}

/**
 * Whether a job may be queued, from the present queue alone. It is refused where it would wait longer than anybody should, where its own
 * deadline or one already promised would be missed, or where the queue is full. A job that need not wait is let in whatever the
 * prediction of its own time says: the prediction may be wrong, and only work that runs can correct it.
 */
export function refuse<Owner>(
  waiting: WaitingJobs<Owner>,
  load: EngineLoad,
  job: QueuedJob<Owner>,
  limits: AdmissionLimits,
  now: number,
): Refusal | undefined {
  const waitMs = predictedWait(waiting, load, job.lane, job.priority, job.work);
  const excess = waiting.tokens + job.waitingTokens - limits.queueTokens;
  if (excess > 0) return { waitMs, retryMs: Math.max(waitMs, 1) };
  if (waitMs > limits.maxWaitMs) return { waitMs, retryMs: waitMs - limits.maxWaitMs };
  if (waitMs <= 0) return undefined;
  const late = now + waitMs + job.work / (load.parallelism * PROMISED_SHARE) - job.deadline;
  if (late > 0) return { waitMs, retryMs: late };
  const broken = brokenPromise(waiting, load, job, now);
  return broken > 0 ? { waitMs, retryMs: broken } : undefined;
}
