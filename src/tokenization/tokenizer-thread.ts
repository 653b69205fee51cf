import { Worker } from 'node:worker_threads';
import { WinnowError } from '../errors.ts';
import { workerEntry } from '../util/worker-entry.ts';
import type { TokenizerFacts } from './load.ts';
import {
  type EncodeTask,
  type Lane,
  revivedError,
  SHARED_STATE,
  unpackIds,
  type WorkerReply,
  type WorkerRequest,
} from './worker-protocol.ts';

/** The thread ended before it answered. The request may succeed on another thread. */
export class WorkerLost extends Error {
  override readonly name = 'WorkerLost';
  /** Whether the thread worked on this request, not on another one before it. */
  readonly working: boolean;
  /** Whether it ended by itself or made no progress, not because there was much to do. */
  readonly hung: boolean;

  constructor(reason: string, { working, hung }: { readonly working: boolean; readonly hung: boolean }) {
    super(reason);
    this.working = working;
    this.hung = hung;
  }
}

/** Threads lost before they took up a request, until it is given up. */
const MOST_SPARED = 4;

/** The threads that one request has cost. */
export class Tries {
  #lost = 0;
  #spared = 0;

  /** Counts a lost thread. Returns whether the request may have another one: the loss of `most` threads that worked on it ends it. */
  mayRepeat({ working }: WorkerLost, most: number): boolean {
    if (working) this.#lost++;
    else this.#spared++;
    return this.#lost < most && this.#spared < MOST_SPARED;
  }

  failure(doing: string, { message }: WorkerLost): WinnowError {
    const times = this.#lost === 1 ? 'once' : this.#lost === 2 ? 'twice' : 'again and again';
    return new WinnowError('tokenization_failed', { reason: `thread lost ${times} while ${doing}: ${message}` });
  }
}

interface Pending {
  readonly resolve: (reply: WorkerReply) => void;
  readonly reject: (error: Error) => void;
}

/** Times in milliseconds after which a thread is ended. */
export interface EncodeLimits {
  /** A chunk is not finished. */
  readonly limitMs: number;
  /** A piece of a text is not finished. */
  readonly stallMs: number;
  /** The request has ended, but the thread goes on with its chunk. */
  readonly graceMs: number;
}

/** One tokenizer thread and its pending requests. Keeps the process alive only while requests are pending. */
export class WorkerThread {
  readonly #worker: Worker;
  readonly #state = new Int32Array(new SharedArrayBuffer(4 * Object.keys(SHARED_STATE).length));
  readonly #pending = new Map<number, Pending>();
  readonly #onLost: (wasWorking: boolean) => void;
  #nextId = 0;
  #lost: string | undefined;

  /** @param onLost Called once when the thread ends for any reason, `terminate` included. */
  constructor(memoryMb: number, onLost: (wasWorking: boolean) => void) {
    this.#onLost = onLost;
    this.#worker = new Worker(workerEntry('./tokenizer-worker', import.meta.url), {
      execArgv: [],
      workerData: this.#state,
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
    const reply = await this.#ask((id) => ({ type: 'load', id, folder }), limitMs);
    if (reply.type !== 'loaded') throw unexpected(reply);
    return reply.facts;
  }

  /**
   * Returns the ids of the texts, as views on one buffer. When the signal aborts, the thread gives up before its next piece.
   * @throws WinnowError `tokenization_failed`; WorkerLost, also when a limit is exceeded.
   */
  async encode(task: EncodeTask, limits: EncodeLimits, signal?: AbortSignal): Promise<readonly Int32Array[]> {
    const release: (() => void)[] = [];
    try {
      const reply = await this.#ask((id) => {
        release.push(this.#watch(id, limits.stallMs), this.#cancelOn(signal, id, task.lane, limits.graceMs));
        return { type: 'encode', id, ...task };
      }, limits.limitMs);
      if (reply.type !== 'encoded') throw unexpected(reply);
      return unpackIds(reply.packed);
    } finally {
      for (const end of release) end();
    }
  }

  /** Returns the texts of tokens. @throws WinnowError of the loader; WorkerLost, also after `limitMs` without an answer. */
  async spell({ folder, textKey }: TokenizerFacts, ids: Int32Array, limitMs: number): Promise<readonly string[]> {
    const reply = await this.#ask((id) => ({ type: 'spell', id, folder, textKey, ids }), limitMs);
    if (reply.type !== 'spelled') throw unexpected(reply);
    return reply.texts;
  }

  unload(textKey: string): void {
    if (this.#lost === undefined) this.#worker.postMessage({ type: 'unload', textKey } satisfies WorkerRequest);
  }

  terminate(reason: string): void {
    this.#lose(reason);
  }

  /** Ends the thread if the request makes no progress; returns how to stop watching. */
  #watch(id: number, stallMs: number): () => void {
    let seen = -1;
    let stalled = 0;
    const timer = setInterval(() => {
      const progress = Atomics.load(this.#state, SHARED_STATE.progress);
      stalled = this.#worksOn(id) && progress === seen ? stalled + 1 : 0;
      seen = progress;
      if (stalled >= STALLED_LOOKS) this.terminate(`no progress within ${stallMs} ms`);
    }, stallMs / STALLED_LOOKS);
    return () => clearInterval(timer);
  }

  /** Tells the thread when the request has ended, and ends the thread if it goes on; returns how to stop that. */
  #cancelOn(signal: AbortSignal | undefined, id: number, lane: Lane, graceMs: number): () => void {
    let timer: NodeJS.Timeout | undefined;
    const cancel = () => {
      Atomics.store(this.#state, SHARED_STATE[lane], id + 1);
      timer = setTimeout(() => this.terminate(`no end within ${graceMs} ms of the request's end`), graceMs);
    };
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
    return () => {
      signal?.removeEventListener('abort', cancel);
      clearTimeout(timer);
    };
  }

  #worksOn(id: number): boolean {
    return Atomics.load(this.#state, SHARED_STATE.current) === id + 1;
  }

  async #ask(make: (id: number) => WorkerRequest, limitMs: number): Promise<WorkerReply> {
    if (this.#lost !== undefined) throw new WorkerLost(this.#lost, { working: false, hung: false });
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<WorkerReply>();
    this.#pending.set(id, { resolve, reject });
    this.#worker.ref();
    this.#worker.postMessage(make(id));
    const timer = setTimeout(() => this.#lose(`no answer within ${limitMs} ms`, false), limitMs);
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

  #lose(reason: string, hung = true): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    // Not awaited: a thread in a long loop may take long to end.
    void this.#worker.terminate();
    for (const [id, pending] of this.#pending)
      pending.reject(new WorkerLost(reason, { working: this.#worksOn(id), hung }));
    this.#pending.clear();
    this.#onLost(Atomics.load(this.#state, SHARED_STATE.current) !== 0);
  }
}

/** So often the progress of a request is looked at before it counts as stalled. */
const STALLED_LOOKS = 4;

function unexpected(reply: WorkerReply): Error {
  return new Error(`expected a reply of another type, got ${reply.type}`);
}
