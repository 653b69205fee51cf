import { WinnowError } from '../../errors.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { ExperimentStore } from '../records.ts';

/** Opens a store with a call for the case that it is of no more use. */
type OpenStore = (onLost: (reason: string, exposures: number) => void) => Promise<ExperimentStore>;

/** Opens a store when it is first needed, again after a failure or a loss, and closes what was opened. */
export class StoreKeeper {
  readonly #open: OpenStore;
  readonly #onOpen: (store: ExperimentStore) => Promise<void>;
  readonly #observer: ExperimentObserver;
  #opening: Promise<ExperimentStore> | undefined;
  #opened: ExperimentStore | undefined;
  #closed = false;
  /** Number of the last attempt to open. */
  #turn = 0;

  constructor(open: OpenStore, observer: ExperimentObserver, onOpen: (store: ExperimentStore) => Promise<void>) {
    this.#open = open;
    this.#observer = observer;
    this.#onOpen = onOpen;
  }

  /** The store, if it is open. */
  get opened(): ExperimentStore | undefined {
    return this.#opened;
  }

  /** Returns the store; concurrent callers share one attempt to open it. @throws WinnowError `store_unavailable`; the next call tries again. */
  readonly get = (): Promise<ExperimentStore> => {
    if (this.#closed) return Promise.reject(new WinnowError('shutting_down'));
    if (this.#opening) return this.#opening;
    const turn = ++this.#turn;
    this.#opening = this.#start(turn).catch((error: unknown) => {
      if (turn === this.#turn) this.#opening = undefined;
      this.#observer.onProblem?.({ where: 'database', reason: (error as Error).message });
      throw unavailable(error);
    });
    return this.#opening;
  };

  async close(): Promise<void> {
    this.#closed = true;
    const store = await this.#opening?.catch(() => undefined);
    await store?.close();
  }

  /** Gives a store up and opens it again. */
  #lose(turn: number, reason: string, exposures: number): void {
    if (turn !== this.#turn || this.#closed) return;
    this.#observer.onProblem?.({ where: 'database', reason });
    if (exposures > 0) this.#observer.onLost?.(exposures, 'file_lost');
    const lost = this.#opening;
    this.#opening = undefined;
    this.#opened = undefined;
    lost?.then((store) => store.close()).catch(() => {});
    this.get().catch(() => {});
  }

  async #start(turn: number): Promise<ExperimentStore> {
    const store = await this.#open((reason, exposures) => this.#lose(turn, reason, exposures));
    try {
      await this.#onOpen(store);
    } catch (error) {
      await store.close();
      throw error;
    }
    if (turn === this.#turn) this.#opened = store;
    return store;
  }
}

/** Makes the error of a database that took too long. */
export const timedOut = (message: string, cause?: unknown): Error =>
  Object.assign(new Error(message, { cause }), { code: 'ETIMEDOUT' });

/** Turns the database's error into the one that clients get: with its code only, because its message may hold internals. */
export function unavailable(error: unknown): WinnowError {
  if (error instanceof WinnowError) return error;
  const { code } = error as { code?: unknown };
  const reason = typeof code === 'string' ? code : 'see the log';
  return new WinnowError('store_unavailable', { reason }, { cause: error });
}
