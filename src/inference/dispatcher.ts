import { WinnowError } from '../errors.ts';
import { HostBroken, HostLost } from './host-client.ts';
import { decodeScores, encodeRun, type Frame } from './host-protocol.ts';
import type { BatchScores, InferenceRow } from './inference-types.ts';
import type { LossCause } from './pool-observer.ts';

/** What the dispatcher needs of a host. */
export interface Worker {
  readonly index: number;
  /** Calls that are running or wait in the pipe, and their tokens. */
  readonly depth: number;
  readonly tokens: number;
  readonly loaded: ReadonlySet<number>;
  call(encode: (id: number) => Uint8Array, timeoutMs: number, tokens?: number): Promise<Frame>;
  kill(reason: string, cause?: LossCause): void;
}

export interface DispatcherHooks<Host extends Worker> {
  readonly hosts: () => readonly Host[];
  /** Whether a host may yet come that none of `hosts` is. */
  readonly recovering: () => boolean;
  readonly handleOf: (key: string) => number | undefined;
  readonly batchTimeoutMs: number;
  readonly answered: (host: Host, rss: number) => void;
  readonly retried: (host: Host, key: string, reason: string) => void;
}

interface Task {
  readonly key: string;
  readonly rows: readonly InferenceRow[];
  readonly tokens: number;
  readonly resolve: (scores: BatchScores) => void;
  readonly reject: (error: unknown) => void;
  /** Hosts that were lost while they ran it. */
  losses: number;
  /** Nobody waits for it any more. */
  abandoned: boolean;
}

/** One batch runs and the next waits in the host's pipe, so that a host never waits for the front process. */
const DEPTH = 2;
/** A batch is given to a second host after it lost its first, and to no third. */
const MOST_LOSSES = 2;

/** The host with the least to do that holds the model and has room, if any. */
export function leastBusy<Host extends Worker>(hosts: readonly Host[], handle: number): Host | undefined {
  let best: Host | undefined;
  for (const host of hosts) {
    if (host.depth >= DEPTH || !host.loaded.has(handle)) continue;
    if (!best || host.depth < best.depth || (host.depth === best.depth && host.tokens < best.tokens)) best = host;
  }
  return best;
}

/** Gives batches to hosts, first come first served, and gives a batch that lost its host to another. */
export class Dispatcher<Host extends Worker> {
  readonly #hooks: DispatcherHooks<Host>;
  #waiting: Task[] = [];
  #closed: WinnowError | undefined;

  constructor(hooks: DispatcherHooks<Host>) {
    this.#hooks = hooks;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws WinnowError `host_lost`, `inference_failed`, `model_not_ready`; the signal's reason. */
  submit(key: string, rows: readonly InferenceRow[], signal?: AbortSignal): Promise<BatchScores> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<BatchScores>();
    const tokens = rows.reduce((sum, row) => sum + row.ids.length, 0);
    const task: Task = { key, rows, tokens, resolve, reject, losses: 0, abandoned: false };
    this.#waiting.push(task);
    this.pump();
    if (!signal) return promise;
    const abort = () => {
      task.abandoned = true;
      this.#waiting = this.#waiting.filter((other) => other !== task);
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  /** Sends what can be sent; called whenever a host has room again. */
  pump(): void {
    const still: Task[] = [];
    for (const task of this.#waiting.splice(0)) if (!this.#place(task)) still.push(task);
    this.#waiting.unshift(...still);
  }

  /** Gives up every waiting batch. */
  refuse(error: WinnowError): void {
    for (const task of this.#waiting.splice(0)) task.reject(error);
  }

  /** Gives up every waiting batch, and every one whose host leaves before it has answered. */
  close(error: WinnowError): void {
    this.#closed = error;
    this.refuse(error);
  }

  /** Whether the task needs to wait no longer: sent, or refused for good. */
  #place(task: Task): boolean {
    const handle = this.#hooks.handleOf(task.key);
    const hosts = this.#hooks.hosts();
    const hopeless = handle === undefined || !(this.#hooks.recovering() || hosts.some((h) => h.loaded.has(handle)));
    if (hopeless) {
      task.reject(new WinnowError('model_not_ready', { model: task.key, reason: 'no inference host holds it' }));
      return true;
    }
    const host = leastBusy(hosts, handle);
    if (host) this.#send(task, host, handle);
    return host !== undefined;
  }

  #send(task: Task, host: Host, handle: number): void {
    const { rows, tokens } = task;
    host
      .call((id) => encodeRun(id, { handle, rows }), this.#hooks.batchTimeoutMs, tokens)
      .then(
        ({ payload }) => {
          const { scores, inferMs, rss } = decodeScores(payload);
          task.resolve({ scores, inferMs, host: host.index });
          this.#hooks.answered(host, rss);
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

  /** A batch that only waited behind the one its host was lost with is not counted against it. */
  #lost(task: Task, host: Host, reason: string, running: boolean): void {
    if (this.#closed) task.reject(this.#closed);
    else if (running && ++task.losses >= MOST_LOSSES) task.reject(new WinnowError('host_lost', { reason }));
    else if (!task.abandoned) {
      if (running) this.#hooks.retried(host, task.key, reason);
      this.#waiting.unshift(task);
    }
  }
}
