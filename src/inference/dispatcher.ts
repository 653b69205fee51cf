import { WinnowError } from '../errors.ts';
import { HostBroken, type HostClient, HostLost } from './host-client.ts';
import { decodeScores, encodeRun } from './protocol.ts';
import type { BatchScores, InferenceRow } from './types.ts';

export interface DispatcherHooks {
  readonly hosts: () => readonly HostClient[];
  /** Whether a host may yet come that none of `hosts` is. */
  readonly recovering: () => boolean;
  readonly handleOf: (key: string) => number | undefined;
  readonly batchTimeoutMs: number;
  readonly answered: (host: HostClient, rss: number) => void;
  readonly retried: (host: HostClient, key: string, reason: string) => void;
}

interface Task {
  readonly key: string;
  readonly rows: readonly InferenceRow[];
  readonly tokens: number;
  readonly resolve: (scores: BatchScores) => void;
  readonly reject: (error: unknown) => void;
  /** Hosts that were lost while they ran it. */
  losses: number;
}

/** One batch runs and the next waits in the host's pipe, so that a host never waits for the front process. */
const DEPTH = 2;
/** A batch is given to a second host after it lost its first, and to no third. */
const MOST_LOSSES = 2;

/** The host with the least to do that holds the model and has room, if any. */
export function leastBusy(hosts: readonly HostClient[], handle: number): HostClient | undefined {
  let best: HostClient | undefined;
  for (const host of hosts) {
    if (host.depth >= DEPTH || !host.loaded.has(handle)) continue;
    if (!best || host.depth < best.depth || (host.depth === best.depth && host.tokens < best.tokens)) best = host;
  }
  return best;
}

/** Gives batches to hosts, first come first served, and gives a batch that lost its host to another. */
export class Dispatcher {
  readonly #hooks: DispatcherHooks;
  #waiting: Task[] = [];

  constructor(hooks: DispatcherHooks) {
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
    const task: Task = { key, rows, tokens, resolve, reject, losses: 0 };
    this.#waiting.push(task);
    this.pump();
    if (!signal) return promise;
    const abort = () => {
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

  /** Gives up every waiting batch that `concerns` the caller. */
  refuse(error: WinnowError, concerns: (key: string) => boolean = () => true): void {
    const refused = this.#waiting.filter(({ key }) => concerns(key));
    this.#waiting = this.#waiting.filter(({ key }) => !concerns(key));
    for (const task of refused) task.reject(error);
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

  #send(task: Task, host: HostClient, handle: number): void {
    const { key, rows, tokens } = task;
    host
      .call((id) => encodeRun(id, { handle, rows }), this.#hooks.batchTimeoutMs, tokens)
      .then(
        ({ payload }) => {
          const { scores, inferMs, rss } = decodeScores(payload);
          task.resolve({ scores, inferMs, host: host.index });
          this.#hooks.answered(host, rss);
        },
        (error: Error) => {
          if (error instanceof HostBroken) host.kill(error.message, 'faulty');
          if (error instanceof HostBroken || (error instanceof HostLost && error.running)) task.losses++;
          else if (!(error instanceof HostLost)) return task.reject(error);
          if (task.losses >= MOST_LOSSES) return task.reject(new WinnowError('host_lost', { reason: error.message }));
          this.#hooks.retried(host, key, error.message);
          this.#waiting.unshift(task);
        },
      )
      .finally(() => this.pump());
  }
}
