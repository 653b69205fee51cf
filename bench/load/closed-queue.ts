import type { Budget } from '../../src/scheduling/batch-draft.ts';
import { type Batch, formBatch } from '../../src/scheduling/batch-former.ts';
import { batchMs, type Cost, createCostModel } from '../../src/scheduling/cost-model.ts';
import { createQueuedJob, workRate } from '../../src/scheduling/queued-job.ts';
import { WaitingJobs } from '../../src/scheduling/waiting-jobs.ts';

/** Requests of equal size of which so many are always in progress, on an engine of so many runners with one batch in advance each. */
export interface ClosedQueue {
  readonly lengths: readonly number[];
  readonly passages: number;
  readonly inFlight: number;
  readonly runners: number;
  readonly cost: Cost;
  readonly budget: Budget;
}

export interface Served {
  readonly batches: readonly Batch<number>[];
  /** Milliseconds of each request, ascending. */
  readonly waits: readonly number[];
  readonly engineMs: number;
}

/** Batches that a runner takes: one runs, one waits. */
const DEPTH = 2;

/** Serves requests in simulated time. The cost of batches is learned while they run, as the scheduler does. */
export function serveClosed({ lengths, passages, inFlight, runners, cost, budget }: ClosedQueue): Served {
  const waiting = new WaitingJobs<number>(2000);
  const model = createCostModel();
  const pipes = Array.from({ length: runners }, (): { batch: Batch<number>; endsAt: number }[] => []);
  const started: number[] = [];
  const left: number[] = [];
  const batches: Batch<number>[] = [];
  const waits: number[] = [];
  let [now, engineMs] = [0, 0];
  const load = () => ({ now, speed: runners, idle: pipes.some((pipe) => pipe.length === 0), inFlight: 0 });
  const submit = () => {
    const owner = started.length;
    const own = lengths.slice(owner * passages, (owner + 1) * passages);
    if (own.length === 0) return;
    started.push(now);
    left.push(own.length);
    const facts = { owner, sequence: owner, key: 'm', lane: 'interactive', priority: 0, arrived: now } as const;
    const rest = { deadline: Number.POSITIVE_INFINITY, lengths: own, rate: workRate(model.cost(), 512) };
    waiting.add(createQueuedJob({ ...facts, ...rest }), load());
  };
  const pump = () => {
    for (;;) {
      const pipe = pipes.reduce((least, other) => (other.length < least.length ? other : least));
      const batch = pipe.length < DEPTH ? formBatch(waiting, budget, () => model.cost(), load()) : undefined;
      if (!batch) return;
      batches.push(batch);
      const ms = batchMs(cost, batch.rows.length, batch.length);
      engineMs += ms;
      pipe.push({ batch, endsAt: Math.max(now, pipe.at(-1)?.endsAt ?? 0) + ms });
    }
  };
  for (let i = 0; i < inFlight; i++) submit();
  for (pump(); pipes.some((pipe) => pipe.length > 0); pump()) {
    const busy = pipes.filter((pipe) => pipe.length > 0);
    const { batch, endsAt } = busy.reduce((a, b) => (b[0]!.endsAt < a[0]!.endsAt ? b : a)).shift()!;
    now = endsAt;
    const { rows, paddedTokens, length } = batch;
    model.observe({ tokens: paddedTokens, squares: paddedTokens * length, ms: batchMs(cost, rows.length, length) });
    for (const { job } of rows) {
      const owner = job.owner;
      left[owner]!--;
      if (left[owner] !== 0) continue;
      waits.push(now - started[owner]!);
      submit();
    }
  }
  return { batches, waits: waits.sort((a, b) => a - b), engineMs };
}
