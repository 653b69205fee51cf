import type { QueuedJob } from './queued-job.ts';
import type { EngineLoad, WaitingJobs } from './waiting-jobs.ts';

export interface AdmissionLimits {
  /** Hard bound on the tokens that wait. */
  readonly queueTokens: number;
  /** Longest predicted wait, in milliseconds. */
  readonly maxWaitMs: number;
}

export interface Admission {
  /** Predicted wait in milliseconds. */
  readonly waitMs: number;
}

export interface Refusal {
  /** Predicted wait in milliseconds. */
  readonly waitMs: number;
  /** After how many milliseconds a try has a chance. */
  readonly retryMs: number;
}

/**
 * Share of the engine's predicted speed that admission counts on. Less than promises do (plan.ts): the difference is the room in which
 * shorter jobs may pass those that were let in before.
 */
const ADMITTED_SHARE = 0.7;

/** Predicted milliseconds until a job that came now would start. */
export function predictedWait<Owner>(
  waiting: WaitingJobs<Owner>,
  job: Pick<QueuedJob<Owner>, 'lane' | 'priority' | 'work' | 'deadline'>,
  load: EngineLoad,
): number {
  const { ahead } = waiting.place(job, load);
  return load.idle && ahead <= load.inFlight ? 0 : ahead / load.speed;
}

/**
 * Whether a job may be queued, judged by its place in the plan (which never breaks a promise already given). It is refused where it would
 * wait longer than anybody should, where it would miss its own deadline, or where the queue is full. A job that need not wait is let in
 * whatever the prediction of its own time says: the prediction may be wrong, and only work that runs can correct it.
 */
export function admit<Owner>(
  waiting: WaitingJobs<Owner>,
  job: QueuedJob<Owner>,
  load: EngineLoad,
  limits: AdmissionLimits,
): Admission | Refusal {
  const waitMs = predictedWait(waiting, job, load);
  if (waiting.tokens + job.waitingTokens > limits.queueTokens) return { waitMs, retryMs: waitMs };
  if (waitMs > limits.maxWaitMs) return { waitMs, retryMs: waitMs - limits.maxWaitMs };
  const late = load.now + (waitMs + job.work / load.speed) / ADMITTED_SHARE - job.deadline;
  return waitMs > 0 && late > 0 ? { waitMs, retryMs: late } : { waitMs };
}
