import { hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../util/clock.ts';
import { unitHash } from '../assignment/units.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { ExperimentStore, ExposedItem, Exposure } from '../records.ts';
import type { ExposureDraft } from './exposures.ts';

export interface ExposureLogOptions {
  /** Opens the store at first use; fails while the database is down. */
  readonly store: () => Promise<ExperimentStore>;
  /** Key of the unit hashes. */
  readonly secret: () => Promise<string>;
  /** Exposures that may wait; more are lost and counted. */
  readonly bufferRows: number;
  readonly clock: Clock;
  readonly observer: ExperimentObserver;
}

/** A row whose unit is not hashed yet. */
interface Row {
  readonly exposure: Omit<Exposure, 'unit'>;
  readonly unit: string;
}

interface Flush {
  readonly target: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Rows of one transaction. */
const GROUP = 500;
/** Candidates of all waiting rows: what bounds memory where lists are long. */
const MOST_ITEMS = 2_000_000;
/** Passages digested in one turn of the event loop: about a millisecond. */
const PASSAGES_A_TURN = 500;
/** A group waits so long for others to share its transaction. */
const LINGER_MS = 100;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

const digest = (text: string): string => hash('sha256', text, 'hex').slice(0, 16);

/**
 * Takes exposures without ever holding up an answer: `add` only queues. Texts are digested a few at a time between other work, rows are
 * written in groups, and while the database is down they wait, up to a bound, and are tried again with growing pauses.
 */
export class ExposureLog {
  readonly #options: ExposureLogOptions;
  #drafts: ExposureDraft[] = [];
  #rows: Row[] = [];
  #items = 0;
  #compacting: Promise<void> | undefined;
  #writing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;
  #accepted = 0;
  #written = 0;
  /** Who waits until so many are written. */
  #flushing: Flush[] = [];

  constructor(options: ExposureLogOptions) {
    this.#options = options;
  }

  /** Exposures that wait for the database. */
  get waiting(): number {
    return this.#drafts.length + this.#rows.length;
  }

  /** Exposures written since the start. */
  get written(): number {
    return this.#written;
  }

  add(draft: ExposureDraft): void {
    const { bufferRows, observer } = this.#options;
    if (this.#closed) return void observer.onLost?.(1, 'closed');
    if (this.waiting >= bufferRows || this.#items + draft.candidates.length > MOST_ITEMS)
      return void observer.onLost?.(1, 'buffer_full');
    this.#drafts.push(draft);
    this.#accepted++;
    this.#items += draft.candidates.length;
    observer.onBuffer?.(this.waiting);
    this.#compacting ??= this.#compact();
  }

  /** Resolves when everything added before is on disk. @throws the database's error. */
  flush(): Promise<void> {
    if (this.#written >= this.#accepted) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#flushing.push({ target: this.#accepted, resolve, reject });
    if (!this.#compacting) this.#writeNow();
    return promise;
  }

  /** Writes what it can within a time; the rest is lost and counted. */
  async close(limitMs: number): Promise<void> {
    const { clock, observer } = this.#options;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(limitMs, resolve);
    await Promise.race([this.flush().catch(() => {}), late]);
    cancel();
    this.#closed = true;
    this.#cancelTimer?.();
    if (this.waiting > 0) observer.onLost?.(this.waiting, 'closed');
  }

  /** Turns drafts into rows, giving way to other work in between. */
  async #compact(): Promise<void> {
    await nextTurn();
    while (this.#drafts.length > 0) {
      const draft = this.#drafts[0]!;
      const items: ExposedItem[] = [];
      for (const { index, ...candidate } of draft.candidates) {
        if (items.length > 0 && items.length % PASSAGES_A_TURN === 0) await nextTurn();
        items.push({ digest: digest(draft.passages[index] ?? ''), index, ...candidate });
      }
      this.#drafts.shift();
      this.#rows.push({ exposure: { ...draft.row, items }, unit: draft.unit });
      if (this.#rows.length % 8 !== 0) continue;
      if (this.#rows.length >= GROUP || this.#flushing.length > 0) this.#writeNow();
      await nextTurn();
    }
    this.#compacting = undefined;
    if (this.#rows.length >= GROUP || this.#flushing.length > 0) this.#writeNow();
    else this.#schedule(LINGER_MS);
  }

  #writeNow(): void {
    // Whoever waits for the write is told of its failure; it is tried again in any case.
    this.#write().catch(() => {});
  }

  #schedule(ms: number): void {
    if (this.#cancelTimer || this.#closed) return;
    this.#cancelTimer = this.#options.clock.after(ms, () => {
      this.#cancelTimer = undefined;
      this.#writeNow();
    });
  }

  /** Writes all rows there are, one group after another; joins a write that is under way. */
  #write(): Promise<void> {
    this.#writing ??= this.#writeGroups().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #writeGroups(): Promise<void> {
    const { observer } = this.#options;
    try {
      while (this.#rows.length > 0) {
        const group = this.#rows.slice(0, GROUP);
        await this.#writeGroup(group);
        this.#rows.splice(0, group.length);
        this.#written += group.length;
        this.#tellFlushed();
        for (const { exposure } of group) this.#items -= exposure.items.length;
        this.#pauseMs = FIRST_PAUSE_MS;
        // Rows with shadow figures add to exposures that were counted before.
        observer.onStored?.(group.filter(({ exposure }) => !exposure.shadow).length);
        observer.onBuffer?.(this.waiting);
      }
    } catch (error) {
      observer.onProblem?.({ where: 'database', reason: (error as Error).message });
      this.#schedule(this.#pauseMs);
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
      for (const { reject } of this.#flushing.splice(0)) reject(error);
      throw error;
    }
  }

  #tellFlushed(): void {
    const done = this.#flushing.filter(({ target }) => target <= this.#written);
    this.#flushing = this.#flushing.filter(({ target }) => target > this.#written);
    for (const { resolve } of done) resolve();
  }

  async #writeGroup(group: readonly Row[]): Promise<void> {
    const { store, secret } = this.#options;
    const [opened, key] = await Promise.all([store(), secret()]);
    await opened.addExposures(group.map(({ exposure, unit }) => ({ ...exposure, unit: unitHash(key, unit) })));
  }
}
