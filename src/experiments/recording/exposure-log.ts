import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../util/clock.ts';
import { digestsInTurns } from '../../util/digests.ts';
import { keyedDigest, unitHash } from '../assignment/units.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { ExperimentStore, ExposedItem, Exposure } from '../records.ts';
import type { PendingExposure } from './exposures.ts';

interface ExposureLogOptions {
  /** Opens the store at first use; fails while the database is down. */
  readonly store: () => Promise<ExperimentStore>;
  /** Key of the unit hashes. */
  readonly secret: () => Promise<string>;
  /** The most exposures that may wait; more are lost and counted. */
  readonly bufferRows: number;
  readonly clock: Clock;
  readonly observer: ExperimentObserver;
}

/** An exposure whose texts are digested without the key, and whose unit is not hashed yet: the key comes with the database. */
interface DigestedExposure {
  readonly record: Omit<Exposure, 'unit'>;
  readonly unitId: string;
}

interface Flush {
  /** Resolves when this many exposures have been written since the start. */
  readonly target: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The most exposures in one transaction. */
const MAX_GROUP = 500;
/** The most candidates over all waiting exposures: it bounds memory where lists are long. */
const MAX_ITEMS = 2_000_000;
/** Digests keyed in one turn of the event loop: about a millisecond. */
const DIGESTS_PER_TURN = 500;
/** How long exposures wait for others to share their transaction. */
const LINGER_MS = 100;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Writes exposures without delaying an answer: `add` only queues. Texts are digested a few at a time between other work, and exposures are
 * written in groups. While the database is down they wait, up to a bound, and are tried again with growing pauses.
 */
export class ExposureLog {
  readonly #options: ExposureLogOptions;
  #pending: PendingExposure[] = [];
  #digested: DigestedExposure[] = [];
  /** Candidates of all waiting exposures. */
  #items = 0;
  #digesting: Promise<void> | undefined;
  #writing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;
  #accepted = 0;
  #written = 0;
  #flushing: Flush[] = [];

  constructor(options: ExposureLogOptions) {
    this.#options = options;
  }

  /** Number of exposures that wait for the database. */
  get waiting(): number {
    return this.#pending.length + this.#digested.length;
  }

  /** Number of exposures written since the start. */
  get written(): number {
    return this.#written;
  }

  /** Queues an exposure; it is lost, and counted, where the queue is full or the log is closed. */
  add(exposure: PendingExposure): void {
    const { bufferRows, observer } = this.#options;
    if (this.#closed) return void observer.onLost?.(1, 'closed');
    if (this.waiting >= bufferRows || this.#items + exposure.candidates.length > MAX_ITEMS)
      return void observer.onLost?.(1, 'buffer_full');
    this.#pending.push(exposure);
    this.#accepted++;
    this.#items += exposure.candidates.length;
    observer.onBuffer?.(this.waiting);
    this.#digesting ??= this.#digestPending();
  }

  /** Resolves when everything added before is on disk. @throws the database's error. */
  flush(): Promise<void> {
    if (this.#written >= this.#accepted) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#flushing.push({ target: this.#accepted, resolve, reject });
    if (!this.#digesting) this.#writeNow();
    return promise;
  }

  /** Writes what it can within `limitMs`; the rest is lost and counted. */
  async close(limitMs: number): Promise<void> {
    const { clock, observer } = this.#options;
    const { promise: timeUp, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(limitMs, resolve);
    await Promise.race([this.flush().catch(() => {}), timeUp]);
    cancel();
    this.#closed = true;
    this.#cancelTimer?.();
    if (this.waiting > 0) observer.onLost?.(this.waiting, 'closed');
  }

  /** Digests the texts of all pending exposures, with turns of the event loop for other work in between. */
  async #digestPending(): Promise<void> {
    await nextTurn();
    while (this.#pending.length > 0) {
      const { record, unitId, passages, candidates } = this.#pending[0]!;
      const texts = candidates.map(({ index }) => passages[index] ?? '');
      const digests = await digestsInTurns(texts, { encoding: 'hex' });
      const items = candidates.map((candidate, i) => ({ digest: digests[i]!.slice(0, 16), ...candidate }));
      this.#pending.shift();
      this.#digested.push({ record: { ...record, items }, unitId });
      if (this.#digested.length % 8 !== 0) continue;
      if (this.#isDue()) this.#writeNow();
      await nextTurn();
    }
    this.#digesting = undefined;
    if (this.#isDue()) this.#writeNow();
    else this.#writeAfter(LINGER_MS);
  }

  #isDue(): boolean {
    return this.#digested.length >= MAX_GROUP || this.#flushing.length > 0;
  }

  #writeNow(): void {
    // A failure rejects the pending flushes, and the write is tried again in any case.
    this.#write().catch(() => {});
  }

  #writeAfter(ms: number): void {
    if (this.#cancelTimer || this.#closed) return;
    this.#cancelTimer = this.#options.clock.after(ms, () => {
      this.#cancelTimer = undefined;
      this.#writeNow();
    });
  }

  /** Writes everything that is digested, one group after another; joins a write that is in progress. */
  #write(): Promise<void> {
    this.#writing ??= this.#writeGroups().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #writeGroups(): Promise<void> {
    const { observer } = this.#options;
    try {
      while (this.#digested.length > 0) {
        const group = this.#digested.slice(0, MAX_GROUP);
        await this.#writeGroup(group);
        this.#digested.splice(0, group.length);
        this.#written += group.length;
        this.#resolveFlushes();
        for (const { record } of group) this.#items -= record.items.length;
        this.#pauseMs = FIRST_PAUSE_MS;
        // Records with shadow figures add to exposures that were counted before.
        observer.onStored?.(group.filter(({ record }) => !record.shadow).length);
        observer.onBuffer?.(this.waiting);
      }
    } catch (error) {
      const reason = `${(error as Error).message}; exposures that wait for the next try: ${this.waiting}`;
      observer.onProblem?.({ where: 'database', reason });
      this.#writeAfter(this.#pauseMs);
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
      for (const { reject } of this.#flushing.splice(0)) reject(error);
      throw error;
    }
  }

  #resolveFlushes(): void {
    const done = this.#flushing.filter(({ target }) => target <= this.#written);
    this.#flushing = this.#flushing.filter(({ target }) => target > this.#written);
    for (const { resolve } of done) resolve();
  }

  async #writeGroup(group: readonly DigestedExposure[]): Promise<void> {
    const { store, secret } = this.#options;
    const [opened, key] = await Promise.all([store(), secret()]);
    const exposures: Exposure[] = [];
    let digests = 0;
    for (const { record, unitId } of group) {
      const items: ExposedItem[] = [];
      for (const item of record.items) {
        if (++digests % DIGESTS_PER_TURN === 0) await nextTurn();
        items.push({ ...item, digest: keyedDigest(key, item.digest) });
      }
      exposures.push({ ...record, items, unit: unitHash(key, unitId) });
    }
    await opened.addExposures(exposures);
  }
}
