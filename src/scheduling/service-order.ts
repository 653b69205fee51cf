import type { QueuedJob } from './queued-job.ts';

/** How far the engine is when a job is placed. Work is in milliseconds of one runner. */
export interface Outlook {
  readonly now: number;
  /** Work done in a millisecond: runners side by side, less what batches really take beyond the work of their rows. */
  readonly speed: number;
  /** Work in front of the whole lane: what runs, and what the higher lanes hold. */
  readonly before: number;
}

/** What a job must tell to be placed. */
export interface Newcomer {
  readonly priority: number;
  readonly work: number;
  /** Virtual finish under equal sharing. */
  readonly finish: number;
  readonly deadline: number;
}

export interface Place {
  /** Index in the plan. */
  readonly index: number;
  /** Work in front of it. */
  readonly ahead: number;
}

/** Share of the engine's predicted speed that promises count on; the rest is for what cannot be interrupted, and for errors. */
export const PROMISED_SHARE = 0.9;

/**
 * Share of the engine a job may claim until its deadline. Who asks for more is served in his turn, but neither keeps others behind him
 * nor presses forward: a thousand passages with a tight deadline must not lock out tens.
 */
const CLAIM = 0.5;

/** Work that the engine can be counted on to do until `deadline`. */
function promised(deadline: number, { now, speed }: Outlook): number {
  return (deadline - now) * speed * PROMISED_SHARE;
}

/** Whether a job's deadline counts in the plan: it has one, and does not want the engine for itself. */
function claims(work: number, deadline: number, { now, speed }: Outlook): boolean {
  return deadline < Number.POSITIVE_INFINITY && work <= (deadline - now) * speed * CLAIM;
}

/** Whether `job`, done when `done` units of work are, can wait for `work` more: it would still be in time, or is not in time anyway. */
function canWait<Owner>(job: QueuedJob<Owner>, done: number, work: number, outlook: Outlook): boolean {
  if (job.lost || !claims(job.work, job.deadline, outlook)) return true;
  const room = promised(job.deadline, outlook) - done;
  return room < 0 || room >= work;
}

/** Whether equal sharing and priorities put the newcomer first. */
function precedes<Owner>(newcomer: Newcomer, job: QueuedJob<Owner>): boolean {
  if (job.lost) return true;
  if (newcomer.priority !== job.priority) return newcomer.priority < job.priority;
  return newcomer.finish < job.finish;
}

/**
 * Where a newcomer goes in the order of service. It walks from the end towards the front:
 *
 * 1. past everybody whom a smaller priority number lets it pass, and past those of its own priority whom equal sharing would have done
 *    later, as long as they can wait for it without missing their deadlines;
 * 2. if its own deadline would be missed there, on past those of its own or a larger priority number who are due later and can wait.
 *
 * A deadline once accepted is thereby a promise: nobody placed later breaks it, save by a smaller priority number.
 * Linear in the jobs passed.
 */
export function placeIn<Owner>(
  plan: readonly QueuedJob<Owner>[],
  work: number,
  newcomer: Newcomer,
  outlook: Outlook,
): Place {
  let index = plan.length;
  let ahead = outlook.before + work;
  const mayPass = (job: QueuedJob<Owner>) =>
    newcomer.priority < job.priority || canWait(job, ahead, newcomer.work, outlook);
  const pass = (job: QueuedJob<Owner>) => {
    index--;
    ahead -= job.work;
  };
  for (let job = plan[index - 1]; job && precedes(newcomer, job) && mayPass(job); job = plan[index - 1]) pass(job);
  if (claims(newcomer.work, newcomer.deadline, outlook)) {
    const enough = promised(newcomer.deadline, outlook) - newcomer.work;
    const yields = (job: QueuedJob<Owner>) => newcomer.priority <= job.priority && newcomer.deadline < job.deadline;
    for (let job = plan[index - 1]; job && ahead > enough && yields(job) && mayPass(job); job = plan[index - 1])
      pass(job);
  }
  return { index, ahead: Math.max(0, ahead) };
}

/** Whether a job cannot be in time any more, even with the whole engine. */
export function isLost<Owner>(job: QueuedJob<Owner>, { now, speed }: Outlook): boolean {
  return now + job.work / speed > job.deadline;
}
