import { setTimeout as delay } from 'node:timers/promises';
import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import { type Job, JobQueue } from './job-queue.ts';
import type { TokenizerFacts } from './load.ts';
import { CachedPairTokenizer, type IdSource, type Turn } from './pair-tokenizer.ts';
import { laneOf, textChunks } from './text-chunks.ts';
import { type CacheStats, TokenCache } from './token-cache.ts';
import type { TextTokenizer } from './tokenization-types.ts';
import { TokenizerBreaker } from './tokenizer-breaker.ts';
import { type EncodeLimits, Tries, WorkerLost, WorkerThread } from './tokenizer-thread.ts';
import { type EncodeTask, LANES, type Lane } from './worker-protocol.ts';

export interface TokenizerPoolOptions {
  /** Number of threads; at least one is started. */
  readonly threads: number;
  /** Memory for the ids of texts, of all models together; 0 caches none. */
  readonly cacheBytes: number;
  /**
   * Milliseconds after which a thread is ended that has not finished a chunk of texts (64 texts or 128 Ki characters, or one longer text).
   * Default: 60,000.
   */
  readonly limitMs?: number;
  /** The same limit for a piece of a text, which is at most 2^20 UTF-16 units long. Default: 2,000. */
  readonly stallMs?: number;
  /** The same limit for a chunk whose request has ended. Default: 1,000. */
  readonly graceMs?: number;
  /** The same limit for loading a tokenizer. Default: 60,000. */
  readonly loadLimitMs?: number;
  /** The largest heap of a thread in MiB. Other limits keep threads far below the default of 2,048. */
  readonly memoryMb?: number;
}

interface TokenizerPoolStats {
  readonly cache: CacheStats;
  readonly threads: number;
  /** Chunks of texts that wait for a thread. */
  readonly queued: number;
  /** Threads that encode a chunk. */
  readonly busy: number;
  /** Threads that were lost and replaced. */
  readonly restarts: number;
  /** Vocabularies in memory. */
  readonly tokenizers: number;
}

export interface TokenizerPool {
  /**
   * Loads the tokenizer of a model folder on every thread. Folders with the same vocabulary share it and its cached ids. Close the
   * tokenizer when the model is unloaded.
   * @throws WinnowError `invalid_manifest` with file and field, `tokenization_failed`, `shutting_down`.
   */
  for(folder: string): Promise<TextTokenizer>;
  stats(): TokenizerPoolStats;
  /** Ends the threads; running requests are rejected with `shutting_down`. */
  close(): Promise<void>;
}

/** A chunk is run on a second thread if its first was lost. */
const ATTEMPTS = 2;

interface Slot {
  thread: WorkerThread;
  /** Whether the thread has loaded every vocabulary. */
  ready: boolean;
  /** Lanes in which the thread has a chunk. */
  readonly busy: Set<Lane>;
  /** Threads lost since the last finished chunk. */
  losses: number;
}

/** A vocabulary in memory, which several folders may share. */
interface Shared {
  /** One of these folders, to load it on new threads. */
  readonly folder: string;
  users: number;
}

export function createTokenizerPool(options: TokenizerPoolOptions): TokenizerPool {
  return new Pool(options);
}

class Pool implements TokenizerPool {
  readonly #cache: TokenCache;
  readonly #limits: EncodeLimits;
  readonly #loadLimitMs: number;
  readonly #memoryMb: number;
  readonly #slots: Slot[];
  readonly #queue = new JobQueue();
  readonly #breaker = new TokenizerBreaker();
  readonly #shared = new Map<string, Shared>();
  /** Admits one change of the loaded vocabularies at a time: none is unloaded while another folder is about to use it. */
  readonly #changes = new Mutex();
  #restarts = 0;
  #closed = false;

  constructor({ threads, cacheBytes, ...rest }: TokenizerPoolOptions) {
    const { limitMs = 60_000, stallMs = 2000, graceMs = 1000, loadLimitMs = 60_000, memoryMb = 2048 } = rest;
    this.#cache = new TokenCache(cacheBytes);
    this.#limits = { limitMs, stallMs, graceMs };
    this.#loadLimitMs = loadLimitMs;
    this.#memoryMb = memoryMb;
    this.#slots = Array.from({ length: Math.max(1, threads) }, () => this.#openSlot());
  }

  async for(folder: string): Promise<TextTokenizer> {
    const facts = await this.#changes.run(() => this.#share(folder));
    const source: IdSource = {
      tokenize: (texts, enough, turn) => this.#tokenize({ textKey: facts.textKey, enough }, texts, turn),
      spell: (ids) =>
        this.#retried(this.#slots[0]!, 'spelling', (thread) => thread.spell(facts, ids, this.#loadLimitMs)),
      close: () => this.#changes.run(async () => this.#release(facts.textKey)),
    };
    return new CachedPairTokenizer(facts, source, this.#cache);
  }

  stats(): TokenizerPoolStats {
    return {
      cache: this.#cache.stats(),
      threads: this.#slots.length,
      queued: this.#queue.size,
      busy: this.#slots.filter((slot) => slot.busy.size > 0).length,
      restarts: this.#restarts,
      tokenizers: this.#shared.size,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.clear()) job.reject(new WinnowError('shutting_down'));
    for (const slot of this.#slots) slot.thread.terminate('the pool was closed');
  }

  async #share(folder: string): Promise<TokenizerFacts> {
    const [first, ...others] = this.#slots as [Slot, ...Slot[]];
    const facts = await this.#loadOn(first, folder);
    const known = this.#shared.get(facts.textKey);
    if (known) {
      known.users++;
      return facts;
    }
    // Added before the other threads load it, so that threads replaced meanwhile load it too.
    this.#shared.set(facts.textKey, { folder, users: 1 });
    try {
      await this.#loadOnAll(others, folder);
    } catch (error) {
      this.#release(facts.textKey);
      throw error;
    }
    return facts;
  }

  /**
   * Loads the first vocabulary on all threads at the same time, later ones on one thread after another, so that the others keep tokenizing.
   */
  async #loadOnAll(slots: readonly Slot[], folder: string): Promise<void> {
    if (this.#shared.size === 1) await Promise.all(slots.map((slot) => this.#loadOn(slot, folder)));
    else for (const slot of slots) await this.#loadOn(slot, folder);
  }

  #loadOn(slot: Slot, folder: string): Promise<TokenizerFacts> {
    return this.#retried(slot, `loading ${folder}`, (thread) => thread.load(folder, this.#loadLimitMs));
  }

  /** Works on a slot's thread; if the thread is lost meanwhile, once more on the thread that replaces it. */
  async #retried<T>(slot: Slot, doing: string, work: (thread: WorkerThread) => Promise<T>): Promise<T> {
    const tries = new Tries();
    for (;;) {
      if (this.#closed) throw new WinnowError('shutting_down');
      try {
        return await work(slot.thread);
      } catch (error) {
        if (!(error instanceof WorkerLost)) throw error;
        if (!tries.mayRepeat(error, ATTEMPTS) && !this.#closed) throw tries.failure(doing, error);
      }
    }
  }

  #release(textKey: string): void {
    const shared = this.#shared.get(textKey);
    if (shared === undefined || --shared.users > 0) return;
    this.#shared.delete(textKey);
    for (const { thread } of this.#slots) thread.unload(textKey);
  }

  async #tokenize(
    task: Omit<EncodeTask, 'texts' | 'lane'>,
    texts: readonly string[],
    { signal, share }: Turn,
  ): Promise<readonly Int32Array[]> {
    if (this.#closed) throw new WinnowError('shutting_down');
    this.#checkInUse(task.textKey);
    const group = {};
    const parts = textChunks(texts).map(
      (chunk) =>
        new Promise<readonly Int32Array[]>((resolve, reject) => {
          const lane = laneOf(chunk);
          this.#queue.push(group, { ...task, texts: chunk, lane, signal, resolve, reject, tries: new Tries() }, share);
        }),
    );
    const abort = () => {
      for (const job of this.#queue.drop(group)) job.reject(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    this.#pump();
    try {
      const ids = (await Promise.all(parts)).flat();
      signal?.throwIfAborted();
      return ids;
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#queue.drop(group);
    }
  }

  /** Gives chunks to threads while there are any. */
  #pump(): void {
    for (const lane of LANES)
      for (const slot of this.#slots) {
        if (!slot.ready || slot.busy.has(lane)) continue;
        const job = this.#queue.shift(lane);
        if (job === undefined) break;
        void this.#serve(slot, job);
      }
  }

  /** @throws WinnowError `tokenization_failed` for a tokenizer that is taken out. */
  #checkInUse(textKey: string): void {
    const remainingMs = this.#breaker.remainingMs(textKey);
    if (remainingMs === 0) return;
    const failures = this.#breaker.failures(textKey);
    const seconds = Math.ceil(remainingMs / 1000);
    const reason = `${failures} chunks of texts ended their threads; the model's tokenizer is used again in ${seconds} s`;
    throw new WinnowError('tokenization_failed', { reason });
  }

  async #serve(slot: Slot, job: Job): Promise<void> {
    slot.busy.add(job.lane);
    const { thread } = slot;
    const { textKey, texts, enough, lane, signal } = job;
    try {
      this.#checkInUse(textKey);
      job.resolve(await thread.encode({ textKey, texts, enough, lane }, this.#limits, signal));
      slot.losses = 0;
    } catch (error) {
      this.#failed(job, error as Error);
    }
    // A thread lost meanwhile has been replaced by another one, whose lanes are empty.
    if (slot.thread === thread && slot.ready) {
      slot.busy.delete(lane);
      this.#pump();
    }
  }

  #failed(job: Job, error: Error): void {
    const { textKey, signal, tries } = job;
    const isLost = error instanceof WorkerLost && !this.#closed;
    if (isLost && !signal?.aborted && tries.mayRepeat(error, this.#breaker.failures(textKey) > 0 ? 1 : ATTEMPTS)) {
      this.#queue.push({}, job);
      return;
    }
    if (isLost && error.working && error.hung) this.#breaker.fail(textKey);
    if (this.#closed) job.reject(new WinnowError('shutting_down'));
    else if (signal?.aborted) job.reject(signal.reason);
    else job.reject(isLost ? tries.failure('tokenizing', error) : error);
  }

  #openSlot(): Slot {
    const slot: Slot = { thread: this.#openThread(() => slot), ready: true, busy: new Set(), losses: 0 };
    return slot;
  }

  #openThread(slotOf: () => Slot): WorkerThread {
    return new WorkerThread(this.#memoryMb, (working) => {
      if (!this.#closed) void this.#replace(slotOf(), working);
    });
  }

  /**
   * Replaces a lost thread and loads every vocabulary on the new one. Waits longer each time idle threads are lost without finishing a
   * chunk; where one was at work, `#breaker` takes the tokenizer out, and other models get their thread at once.
   */
  async #replace(slot: Slot, wasWorking: boolean): Promise<void> {
    slot.ready = false;
    slot.busy.clear();
    this.#restarts++;
    const pauseMs = wasWorking || slot.losses++ < 2 ? 0 : Math.min(5000, 50 * 2 ** slot.losses);
    if (pauseMs > 0) await delay(pauseMs, undefined, { ref: false });
    if (this.#closed) return;
    const thread = this.#openThread(() => slot);
    slot.thread = thread;
    // If a vocabulary's folder has been removed, only chunks that need it fail.
    for (const { folder } of [...this.#shared.values()])
      await thread.load(folder, this.#loadLimitMs).catch(() => undefined);
    if (slot.thread !== thread || this.#closed) return;
    slot.ready = true;
    this.#pump();
  }
}
