import { WinnowError } from '../errors.ts';
import type { QueuedJob } from './queued-job.ts';
import type { ExecutorLoad, WaitingJobs } from './waiting-jobs.ts';

export interface AdmissionLimits {
  /** The largest number of waiting tokens. */
  readonly queueTokens: number;
  /** The longest predicted wait, in milliseconds. */
  readonly maxWaitMs: number;
}

interface Admission {
  /** Predicted wait in milliseconds. */
  readonly waitMs: number;
}

interface Refusal extends Admission {
  /** Milliseconds after which a retry may be admitted. */
  readonly retryMs: number;
}

/** Returns the error of a refused job. */
export function overloaded({ waitMs, retryMs }: Refusal): WinnowError {
  return new WinnowError('overloaded', { waitMs: Math.ceil(waitMs), seconds: Math.max(1, Math.ceil(retryMs / 1000)) });
}

/**
 * Share of the predicted speed that admission checks deadlines with. It is smaller than `PROMISED_SHARE` of service-order.ts, so that
 * shorter jobs can still pass admitted ones without breaking their deadlines.
 */
const ADMITTED_SHARE = 0.7;

/** Part of the queue's tokens that shares with little in it may have in addition, all together, when others have filled it. */
const RESERVE = 1 / 8;

/** Whether the queue has no room for a job: its share is as large as the reserve, or the reserve is used up too. */
function isFull<Owner>(waiting: WaitingJobs<Owner>, job: QueuedJob<Owner>, queueTokens: number): boolean {
  const tokens = waiting.tokens + job.waitingTokens;
  if (tokens <= queueTokens) return false;
  const reserve = RESERVE * queueTokens;
  return waiting.tokensOf(job.share) + job.waitingTokens > reserve || tokens > queueTokens + reserve;
}

/** Returns the predicted milliseconds until a job submitted now would start. */
export function predictedWait<Owner>(
  waiting: WaitingJobs<Owner>,
  job: Pick<QueuedJob<Owner>, 'lane' | 'share' | 'priority' | 'work' | 'deadline'>,
  load: ExecutorLoad,
): number {
  const { workAhead } = waiting.place(job, load);
  return load.idle && workAhead <= load.inFlight ? 0 : workAhead / load.speed;
}

/**
 * Decides whether a job may be queued, by its place in the service order. It is refused if the queue is full, if its predicted wait exceeds
 * `maxWaitMs`, or if it would miss its deadline. A job that would start at once is admitted even if its own predicted time is too long: the
 * prediction may be wrong, and only running batches correct it.
 */
export function admit<Owner>(
  waiting: WaitingJobs<Owner>,
  job: QueuedJob<Owner>,
  load: ExecutorLoad,
  limits: AdmissionLimits,
): Admission | Refusal {
  const waitMs = predictedWait(waiting, job, load);
  if (isFull(waiting, job, limits.queueTokens)) return { waitMs, retryMs: waitMs };
  if (waitMs > limits.maxWaitMs) return { waitMs, retryMs: waitMs - limits.maxWaitMs };
  const lateMs = load.now + (waitMs + job.work / load.speed) / ADMITTED_SHARE - job.deadline;
  return waitMs > 0 && lateMs > 0 ? { waitMs, retryMs: lateMs } : { waitMs };
}
