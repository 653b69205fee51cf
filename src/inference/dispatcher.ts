import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';
import { decodeAnswer, encodeBatch } from './batch-frames.ts';
import { Breaker } from './breaker.ts';
import { FinishTimes } from './finish-times.ts';
import { HostBroken, HostLost } from './host-client.ts';
import type { Frame, HostUsage } from './host-protocol.ts';
import type { BatchScores, InferenceRow } from './inference-types.ts';
import type { LossCause } from './pool-observer.ts';

/** What the dispatcher uses of a host. */
export interface Worker {
  readonly index: number;
  /** Calls that run or wait in the pipe. */
  readonly depth: number;
  /** Tokens of these calls. */
  readonly tokens: number;
  /** Milliseconds until they should be answered; NaN where one has no prediction. */
  readonly remainingMs: number;
  /** Handles of the models that the host holds. */
  readonly loaded: ReadonlySet<number>;
  /** Handles of the models that it is loading: it takes no batch meanwhile, which would wait behind the load. */
  readonly loading: ReadonlySet<number>;
  call(encode: (id: number) => Uint8Array, timeoutMs: number, tokens?: number, expectedMs?: number): Promise<Frame>;
  kill(reason: string, cause?: LossCause): void;
}

interface DispatcherHooks<Host extends Worker> {
  readonly hosts: () => readonly Host[];
  /** Whether a host is being started. */
  readonly recovering: () => boolean;
  readonly handleOf: (key: string) => number | undefined;
  readonly batchTimeoutMs: number;
  readonly clock: Pick<Clock, 'now'>;
  readonly answered: (host: Host, usage: HostUsage) => void;
  readonly retried: (host: Host, key: string, reason: string) => void;
}

interface Task {
  readonly key: string;
  readonly rows: readonly InferenceRow[];
  readonly tokens: number;
  /** Milliseconds it may run. */
  readonly limitMs: number;
  readonly predictedMs: number | undefined;
  readonly resolve: (scores: BatchScores) => void;
  readonly reject: (error: unknown) => void;
  /** Number of hosts that were lost while they ran it. */
  losses: number;
  /** Whether its caller aborted. */
  aborted: boolean;
}

/** One batch runs and the next waits in the host's pipe, so that a host is never idle between two batches. */
const DEPTH = 2;
/** A batch is run on a second host after its first was lost, and then rejected. */
const MAX_LOSSES = 2;

/** A batch may take so many times its predicted time, and at least so many milliseconds, before its host counts as stuck. */
const PATIENCE = 20;
const LEAST_LIMIT_MS = 2000;

/** Returns the milliseconds that a batch may run. */
export function limitOf(predictedMs: number | undefined, batchTimeoutMs: number): number {
  if (predictedMs === undefined) return batchTimeoutMs;
  return Math.min(batchTimeoutMs, Math.max(LEAST_LIMIT_MS, PATIENCE * predictedMs));
}

/**
 * Returns the host that would finish a batch first, of those that hold the model and have room; where that cannot be predicted, the one with
 * the fewest calls, then tokens.
 * @param finishMs Milliseconds until a host would have finished the batch; NaN where unknown.
 */
export function firstFree<Host extends Worker>(
  hosts: readonly Host[],
  handle: number,
  finishMs: (host: Host) => number = () => Number.NaN,
): Host | undefined {
  let best: Host | undefined;
  for (const host of hosts) {
    if (host.depth >= DEPTH || host.loading.size > 0 || !host.loaded.has(handle)) continue;
    if (!best || isSooner(host, best, finishMs(host) - finishMs(best))) best = host;
  }
  return best;
}

/** Whether a host comes before another. `lagMs`: how much later it would finish. */
function isSooner(host: Worker, other: Worker, lagMs: number): boolean {
  if (Math.abs(lagMs) > 0) return lagMs < 0;
  return host.depth < other.depth || (host.depth === other.depth && host.tokens < other.tokens);
}

/** Sends batches to hosts in the order of submission. Sends a batch whose host was lost to another one. */
export class Dispatcher<Host extends Worker> {
  readonly #hooks: DispatcherHooks<Host>;
  readonly #breaker: Breaker;
  readonly #finishTimes = new FinishTimes();
  #waiting: Task[] = [];
  #closed: WinnowError | undefined;

  constructor(hooks: DispatcherHooks<Host>) {
    this.#hooks = hooks;
    this.#breaker = new Breaker(hooks.clock);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Forgets what a model has cost: it is loaded anew. */
  loaded(key: string): void {
    this.#breaker.succeeded(key);
  }

  /** Scores a batch on the host that would finish it first. @throws WinnowError `host_lost`, `inference_failed`, `model_not_ready`; the signal's reason. */
  submit(key: string, rows: readonly InferenceRow[], signal?: AbortSignal, predictedMs?: number): Promise<BatchScores> {
    signal?.throwIfAborted();
    this.#breaker.check(key);
    const { promise, resolve, reject } = Promise.withResolvers<BatchScores>();
    const tokens = rows.reduce((sum, row) => sum + row.ids.length, 0);
    const limitMs = limitOf(predictedMs, this.#hooks.batchTimeoutMs);
    const task: Task = { key, rows, tokens, limitMs, predictedMs, resolve, reject, losses: 0, aborted: false };
    this.#waiting.push(task);
    this.pump();
    if (!signal) return promise;
    const abort = () => {
      task.aborted = true;
      this.#waiting = this.#waiting.filter((other) => other !== task);
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  /** Sends every batch that a host has room for. Call it whenever a host has room again. */
  pump(): void {
    const unsent: Task[] = [];
    for (const task of this.#waiting.splice(0)) if (!this.#sendOrReject(task)) unsent.push(task);
    this.#waiting.unshift(...unsent);
  }

  /** Rejects every waiting batch. */
  rejectWaiting(error: WinnowError): void {
    for (const task of this.#waiting.splice(0)) task.reject(error);
  }

  /** Rejects every waiting batch, and every batch whose host ends before it answers. */
  close(error: WinnowError): void {
    this.#closed = error;
    this.rejectWaiting(error);
  }

  /** Sends the task to a host, or rejects it if no host will hold its model. Returns whether it was sent or rejected. */
  #sendOrReject(task: Task): boolean {
    const handle = this.#hooks.handleOf(task.key);
    const hosts = this.#hooks.hosts();
    const unservable = handle === undefined || !(this.#hooks.recovering() || hosts.some((h) => h.loaded.has(handle)));
    if (unservable) {
      task.reject(new WinnowError('model_not_ready', { model: task.key, reason: 'no inference host holds it' }));
      return true;
    }
    const host = firstFree(hosts, handle, (each) => this.#finishTimes.finishMs(each, task.predictedMs));
    if (host) this.#send(task, host, handle);
    return host !== undefined;
  }

  #send(task: Task, host: Host, handle: number): void {
    const { rows, tokens, limitMs, predictedMs } = task;
    const expectedMs = predictedMs === undefined ? undefined : this.#finishTimes.batchMs(host.index, predictedMs);
    host
      .call((id) => encodeBatch(id, { handle, rows }), limitMs, tokens, expectedMs)
      .then(
        (frame) => {
          const { rss, cpuMs, ...answer } = decodeAnswer(frame);
          const { inferMs } = answer;
          this.#breaker.succeeded(task.key);
          this.#finishTimes.observe(host.index, predictedMs, inferMs);
          task.resolve({ ...answer, host: host.index });
          this.#hooks.answered(host, { rss, cpuMs });
        },
        (error: Error) => this.#failed(task, host, error),
      )
      .finally(() => this.pump());
  }

  #failed(task: Task, host: Host, error: Error): void {
    const broken = error instanceof HostBroken;
    if (broken) host.kill(error.message, 'faulty');
    if (broken || error instanceof HostLost) this.#lost(task, host, error.message, broken || error.running);
    else task.reject(error);
  }

  /** Rejects a task that has ended as many hosts as a batch may. From the second in a row on, its model is out for a while. */
  #lostTwice(task: Task, reason: string): void {
    task.reject(new WinnowError('host_lost', { reason }));
    this.#breaker.lost(task.key);
    if (!this.#breaker.isOut(task.key)) return;
    for (const other of this.#waiting.filter(({ key }) => key === task.key)) {
      this.#waiting.splice(this.#waiting.indexOf(other), 1);
      other.reject(this.#breaker.refusal(task.key));
    }
  }

  /** Runs a task again or rejects it. A loss counts only for the batch that ran, not for those that waited behind it. */
  #lost(task: Task, host: Host, reason: string, running: boolean): void {
    if (this.#closed) task.reject(this.#closed);
    else if (running && ++task.losses >= MAX_LOSSES) this.#lostTwice(task, reason);
    else if (!task.aborted) {
      if (running) this.#hooks.retried(host, task.key, reason);
      this.#waiting.unshift(task);
    }
  }
}
