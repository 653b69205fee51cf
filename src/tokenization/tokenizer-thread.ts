import { Worker } from 'node:worker_threads';
import { workerEntry } from '../util/worker-entry.ts';
import type { TokenizerFacts } from './load.ts';
import { revivedError, unpackIds, type WorkerReply, type WorkerRequest } from './worker-protocol.ts';

/** The thread ended before it answered. The request may succeed on another thread. */
export class WorkerLost extends Error {
  override readonly name = 'WorkerLost';
}

interface Pending {
  readonly resolve: (reply: WorkerReply) => void;
  readonly reject: (error: Error) => void;
}

/** One tokenizer thread and its pending requests. Keeps the process alive only while requests are pending. */
export class WorkerThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #onLost: (reason: string) => void;
  #nextId = 0;
  #lost: string | undefined;

  /** @param onLost Called once when the thread ends for any reason, `terminate` included. */
  constructor(memoryMb: number, onLost: (reason: string) => void) {
    this.#onLost = onLost;
    this.#worker = new Worker(workerEntry('./tokenizer-worker', import.meta.url), {
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: memoryMb },
      name: 'tokenizer',
    });
    this.#worker.on('message', (reply: WorkerReply) => this.#settle(reply));
    this.#worker.on('messageerror', (error: Error) => this.#lose(error.message));
    this.#worker.on('error', (error: Error) => this.#lose(error.message));
    this.#worker.on('exit', (code) => this.#lose(`exit code ${code}`));
    this.#worker.unref();
  }

  /** Loads a folder's tokenizer. @throws WinnowError of the loader; WorkerLost, also after `limitMs` without an answer. */
  async load(folder: string, limitMs: number): Promise<TokenizerFacts> {
    const reply = await this.#ask(limitMs, (id) => ({ type: 'load', id, folder }));
    if (reply.type !== 'loaded') throw unexpected(reply);
    return reply.facts;
  }

  /**
   * Returns the ids of the texts, as views on one buffer.
   * @throws WinnowError `tokenization_failed`; WorkerLost, also after `limitMs` without an answer.
   */
  async encode(textKey: string, texts: readonly string[], limitMs: number): Promise<readonly Int32Array[]> {
    const reply = await this.#ask(limitMs, (id) => ({ type: 'encode', id, textKey, texts }));
    if (reply.type !== 'encoded') throw unexpected(reply);
    return unpackIds(reply.packed);
  }

  unload(textKey: string): void {
    if (this.#lost === undefined) this.#worker.postMessage({ type: 'unload', textKey } satisfies WorkerRequest);
  }

  terminate(reason: string): void {
    this.#lose(reason);
  }

  async #ask(limitMs: number, make: (id: number) => WorkerRequest): Promise<WorkerReply> {
    if (this.#lost !== undefined) throw new WorkerLost(this.#lost);
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<WorkerReply>();
    this.#pending.set(id, { resolve, reject });
    this.#worker.ref();
    this.#worker.postMessage(make(id));
    const timer = setTimeout(() => this.terminate(`no answer within ${limitMs} ms`), limitMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #settle(reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) this.#worker.unref();
    if (reply.type === 'failed') pending?.reject(revivedError(reply.error));
    else pending?.resolve(reply);
  }

  #lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    // Not awaited: a thread in a long loop may take long to end.
    void this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(new WorkerLost(reason));
    this.#pending.clear();
    this.#onLost(reason);
  }
}

function unexpected(reply: WorkerReply): Error {
  return new Error(`expected a reply of another type, got ${reply.type}`);
}
