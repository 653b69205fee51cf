import { setTimeout as delay } from 'node:timers/promises';
import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import { FairQueue } from './fair-queue.ts';
import type { TokenizerFacts } from './load.ts';
import { CachedPairTokenizer } from './pair-tokenizer.ts';
import { type CacheStats, TokenCache } from './token-cache.ts';
import type { PairTokenizer } from './tokenization-types.ts';
import { WorkerLost, WorkerThread } from './tokenizer-thread.ts';

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
  for(folder: string): Promise<PairTokenizer>;
  stats(): TokenizerPoolStats;
  /** Ends the threads; running requests are rejected with `shutting_down`. */
  close(): Promise<void>;
}

/** Texts and UTF-16 units of a chunk: large enough to be worth a message, small enough that requests take turns. */
const CHUNK_TEXTS = 64;
const CHUNK_UNITS = 1 << 17;
/** A chunk is run on a second thread if its first was lost. */
const ATTEMPTS = 2;

interface Job {
  readonly textKey: string;
  readonly texts: readonly string[];
  readonly resolve: (ids: readonly Int32Array[]) => void;
  readonly reject: (error: Error) => void;
  attempts: number;
}

interface Slot {
  thread: WorkerThread;
  state: 'starting' | 'idle' | 'busy';
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
  readonly #limitMs: number;
  readonly #loadLimitMs: number;
  readonly #memoryMb: number;
  readonly #slots: Slot[];
  readonly #queue = new FairQueue<Job>();
  readonly #shared = new Map<string, Shared>();
  /** Admits one change of the loaded vocabularies at a time: none is unloaded while another folder is about to use it. */
  readonly #changes = new Mutex();
  #restarts = 0;
  #closed = false;

  constructor({ threads, cacheBytes, limitMs = 60_000, loadLimitMs = 60_000, memoryMb = 2048 }: TokenizerPoolOptions) {
    this.#cache = new TokenCache(cacheBytes);
    this.#limitMs = limitMs;
    this.#loadLimitMs = loadLimitMs;
    this.#memoryMb = memoryMb;
    this.#slots = Array.from({ length: Math.max(1, threads) }, () => this.#openSlot());
  }

  async for(folder: string): Promise<PairTokenizer> {
    const facts = await this.#changes.run(() => this.#share(folder));
    const source = {
      tokenize: (texts: readonly string[], signal?: AbortSignal) => this.#tokenize(facts.textKey, texts, signal),
      close: () => this.#changes.run(async () => this.#release(facts.textKey)),
    };
    return new CachedPairTokenizer(facts, source, this.#cache);
  }

  stats(): TokenizerPoolStats {
    return {
      cache: this.#cache.stats(),
      threads: this.#slots.length,
      queued: this.#queue.size,
      busy: this.#slots.filter((slot) => slot.state === 'busy').length,
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

  /** Loads on a slot's thread; if the thread is lost, once more on the thread that replaces it. */
  async #loadOn(slot: Slot, folder: string): Promise<TokenizerFacts> {
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw new WinnowError('shutting_down');
      try {
        return await slot.thread.load(folder, this.#loadLimitMs);
      } catch (error) {
        if (!(error instanceof WorkerLost)) throw error;
        if (attempt === ATTEMPTS && !this.#closed) throw lostTwice(`loading ${folder}`, error);
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
    textKey: string,
    texts: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<readonly Int32Array[]> {
    if (this.#closed) throw new WinnowError('shutting_down');
    const group = {};
    const parts = chunks(texts).map(
      (chunk) =>
        new Promise<readonly Int32Array[]>((resolve, reject) => {
          this.#queue.push(group, { textKey, texts: chunk, resolve, reject, attempts: 0 });
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

  /** Gives chunks to idle threads while there are any. */
  #pump(): void {
    for (const slot of this.#slots) {
      if (slot.state !== 'idle') continue;
      const job = this.#queue.shift();
      if (job === undefined) return;
      void this.#serve(slot, job);
    }
  }

  async #serve(slot: Slot, job: Job): Promise<void> {
    slot.state = 'busy';
    const { thread } = slot;
    try {
      job.attempts++;
      job.resolve(await thread.encode(job.textKey, job.texts, this.#limitMs));
      slot.losses = 0;
    } catch (error) {
      this.#failed(job, error as Error);
    }
    // A thread lost meanwhile is being replaced; `#replace` sets the state when the new one is ready.
    if (slot.thread === thread && slot.state === 'busy') {
      slot.state = 'idle';
      this.#pump();
    }
  }

  #failed(job: Job, error: Error): void {
    if (!(error instanceof WorkerLost)) job.reject(error);
    else if (this.#closed) job.reject(new WinnowError('shutting_down'));
    else if (job.attempts < ATTEMPTS) this.#queue.push({}, job);
    else job.reject(lostTwice('tokenizing', error));
  }

  #openSlot(): Slot {
    const slot: Slot = { thread: this.#openThread(() => slot), state: 'starting', losses: 0 };
    slot.state = 'idle';
    return slot;
  }

  #openThread(slotOf: () => Slot): WorkerThread {
    return new WorkerThread(this.#memoryMb, () => {
      if (!this.#closed) void this.#replace(slotOf());
    });
  }

  /**
   * Replaces a lost thread and loads every vocabulary on the new one. Waits longer each time threads are lost without finishing a chunk.
   */
  async #replace(slot: Slot): Promise<void> {
    slot.state = 'starting';
    this.#restarts++;
    const pauseMs = slot.losses++ < 2 ? 0 : Math.min(5000, 50 * 2 ** slot.losses);
    if (pauseMs > 0) await delay(pauseMs, undefined, { ref: false });
    if (this.#closed) return;
    const thread = this.#openThread(() => slot);
    slot.thread = thread;
    // If a vocabulary's folder has been removed, only chunks that need it fail.
    for (const { folder } of [...this.#shared.values()])
      await thread.load(folder, this.#loadLimitMs).catch(() => undefined);
    if (slot.thread !== thread || this.#closed) return;
    slot.state = 'idle';
    this.#pump();
  }
}

function lostTwice(doing: string, error: WorkerLost): WinnowError {
  return new WinnowError('tokenization_failed', { reason: `thread lost twice while ${doing}: ${error.message}` });
}

/** Cuts a list of texts into chunks. */
function chunks(texts: readonly string[]): string[][] {
  const result: string[][] = [];
  let chunk: string[] = [];
  let units = 0;
  for (const text of texts) {
    if (chunk.length === CHUNK_TEXTS || (chunk.length > 0 && units + text.length > CHUNK_UNITS)) {
      result.push(chunk);
      chunk = [];
      units = 0;
    }
    chunk.push(text);
    units += text.length;
  }
  if (chunk.length > 0) result.push(chunk);
  return result;
}
