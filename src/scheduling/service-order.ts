import type { QueuedJob } from './queued-job.ts';
import type { NewShare } from './share-clock.ts';

/** How busy the executor is from the point of view of one lane. Work is in milliseconds of one runner. */
export interface LaneLoad {
  readonly now: number;
  /** Work done in a millisecond: the number of runners, less what batches take beyond the work of their rows. */
  readonly speed: number;
  /** Work in front of the whole lane: the batches in flight, and the jobs of higher lanes. */
  readonly workBefore: number;
}

/** What decides the place of a new job. */
export interface NewJob {
  readonly priority: number;
  readonly work: number;
  /** Virtual time at which equal sharing would finish it among the jobs of its share. */
  readonly finish: number;
  /** Whether equal sharing finishes it before a waiting job. Without it all jobs are of one share. */
  readonly finishesBefore?: NewShare['finishesBefore'];
  readonly deadline: number;
}

export interface Place {
  /** Index in the service order. */
  readonly index: number;
  /** Work in front of it. */
  readonly workAhead: number;
}

/** Share of the predicted speed that deadlines are checked with. The rest covers running batches and wrong predictions. */
export const PROMISED_SHARE = 0.9;

/**
 * Share of the predicted speed that one job may claim until its deadline. The deadline of a job that claims more is ignored in the order:
 * a thousand passages with a tight deadline must not delay requests of ten.
 */
const MAX_CLAIM = 0.5;

/** Returns the work that will be done by `deadline`. */
function workUntil(deadline: number, { now, speed }: LaneLoad): number {
  return (deadline - now) * speed * PROMISED_SHARE;
}

/** Whether the order respects a job's deadline: it has one, and claims at most `MAX_CLAIM` of the speed. */
function deadlineCounts(work: number, deadline: number, { now, speed }: LaneLoad): boolean {
  return deadline < Number.POSITIVE_INFINITY && work <= (deadline - now) * speed * MAX_CLAIM;
}

/**
 * Whether `job` can wait for `work` more without missing a deadline that it would otherwise meet.
 * @param done Work after which `job` is finished in the present order.
 */
export function canWait<Owner>(job: QueuedJob<Owner>, done: number, work: number, load: LaneLoad): boolean {
  if (job.late || !deadlineCounts(job.work, job.deadline, load)) return true;
  const room = workUntil(job.deadline, load) - done;
  return room < 0 || room >= work;
}

/** Whether priority and equal sharing put the new job before `job`. */
function precedes<Owner>(added: NewJob, job: QueuedJob<Owner>): boolean {
  if (job.late) return true;
  if (added.priority !== job.priority) return added.priority < job.priority;
  return added.finishesBefore ? added.finishesBefore(job) : added.finish < job.finish;
}

/**
 * Returns where a new job goes in the service order. The place moves from the end towards the front:
 *
 * 1. past jobs with a larger priority number, and past jobs of equal priority that equal sharing would finish later, as long as each of
 *    these still meets its deadline;
 * 2. if the new job would miss its own deadline there, past further jobs with an equal or larger priority number that are due later and
 *    can wait.
 *
 * So an accepted deadline holds: a job that is placed later never breaks it, except one with a smaller priority number.
 * Takes time linear in the jobs passed.
 * @param work Work of all jobs in `order`.
 */
export function placeIn<Owner>(order: readonly QueuedJob<Owner>[], work: number, added: NewJob, load: LaneLoad): Place {
  let index = order.length;
  let workAhead = load.workBefore + work;
  const mayPass = (job: QueuedJob<Owner>) => added.priority < job.priority || canWait(job, workAhead, added.work, load);
  const pass = (job: QueuedJob<Owner>) => {
    index--;
    workAhead -= job.work;
  };
  for (let job = order[index - 1]; job && precedes(added, job) && mayPass(job); job = order[index - 1]) pass(job);
  if (deadlineCounts(added.work, added.deadline, load)) {
    const enough = workUntil(added.deadline, load) - added.work;
    const yields = (job: QueuedJob<Owner>) => added.priority <= job.priority && added.deadline < job.deadline;
    for (let job = order[index - 1]; job && workAhead > enough && yields(job) && mayPass(job); job = order[index - 1])
      pass(job);
  }
  return { index, workAhead: Math.max(0, workAhead) };
}

/** Whether a job would miss its deadline even if it ran next. */
export function isLate<Owner>(job: QueuedJob<Owner>, { now, speed }: LaneLoad): boolean {
  return now + job.work / speed > job.deadline;
}
