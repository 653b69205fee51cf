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
  /** Threads that tokenize; at least one is started. */
  readonly threads: number;
  /** Memory for ids of texts seen before, all models together; 0 keeps none. */
  readonly cacheBytes: number;
  /**
   * A chunk of texts (64 texts or 128 Ki characters, or one longer text) that takes longer than this many milliseconds loses its thread.
   * Default 60,000.
   */
  readonly limitMs?: number;
  /** The same for loading a tokenizer. Default 60,000. */
  readonly loadLimitMs?: number;
  /** Heap of one thread in MiB. What a thread does is bounded far below the default of 2048, which stands against the unforeseen. */
  readonly memoryMb?: number;
}

export interface TokenizerPoolStats {
  readonly cache: CacheStats;
  readonly threads: number;
  /** Chunks of texts that wait for a thread. */
  readonly queued: number;
  readonly busy: number;
  /** Threads that were lost and replaced. */
  readonly restarts: number;
  /** Different vocabularies in memory. */
  readonly tokenizers: number;
}

export interface TokenizerPool {
  /**
   * The tokenizer of a model folder, loaded on every thread. Folders with the same vocabulary share it and its cached ids. Close it when
   * the model goes.
   * @throws WinnowError `invalid_manifest` with file and field, `tokenization_failed`, `shutting_down`.
   */
  for(folder: string): Promise<PairTokenizer>;
  stats(): TokenizerPoolStats;
  /** Ends the threads; requests under way are rejected with `shutting_down`. */
  close(): Promise<void>;
}

/** Texts one thread takes at a time: enough to make a message worth it, little enough that requests take turns. */
const CHUNK_TEXTS = 64;
const CHUNK_UNITS = 1 << 17;
/** A chunk is tried on a second thread if its first was lost. */
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
  /** Losses since the last chunk that came back. */
  losses: number;
}

/** Several folders may share a vocabulary; any of them will do to load it again. */
interface Shared {
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
    // Entered before the other threads have it, so that threads replaced meanwhile load it too.
    this.#shared.set(facts.textKey, { folder, users: 1 });
    try {
      await this.#loadOnAll(others, folder);
    } catch (error) {
      this.#release(facts.textKey);
      throw error;
    }
    return facts;
  }

  /** The first vocabulary on all threads at once; later ones on one thread after the other, so that the rest keep tokenizing. */
  async #loadOnAll(slots: readonly Slot[], folder: string): Promise<void> {
    if (this.#shared.size === 1) await Promise.all(slots.map((slot) => this.#loadOn(slot, folder)));
    else for (const slot of slots) await this.#loadOn(slot, folder);
  }

  /** Loads on a slot's thread, and once more on its successor if it was lost. */
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

  /** Gives idle threads work as long as there is some. */
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
    // A thread lost meanwhile was replaced; its successor says itself when it is ready.
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

  /** Starts a successor that knows every vocabulary in use; waits longer each time one is lost without having done anything. */
  async #replace(slot: Slot): Promise<void> {
    slot.state = 'starting';
    this.#restarts++;
    const pause = slot.losses++ < 2 ? 0 : Math.min(5000, 50 * 2 ** slot.losses);
    if (pause > 0) await delay(pause, undefined, { ref: false });
    if (this.#closed) return;
    const thread = this.#openThread(() => slot);
    slot.thread = thread;
    // A vocabulary whose folder is gone fails the chunks that ask for it, not the thread.
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

/** Cuts a list of texts into chunks a thread takes at a time. */
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
