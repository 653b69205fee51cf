import { WinnowError } from '../../errors.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { ExperimentStore } from '../records.ts';

/** Opens a store when it is first needed, again after a failure, and closes what was opened. */
export class StoreKeeper {
  readonly #open: () => Promise<ExperimentStore>;
  readonly #onOpen: (store: ExperimentStore) => Promise<void>;
  readonly #observer: ExperimentObserver;
  #opening: Promise<ExperimentStore> | undefined;
  #opened: ExperimentStore | undefined;
  #closed = false;

  constructor(
    open: () => Promise<ExperimentStore>,
    observer: ExperimentObserver,
    onOpen: (store: ExperimentStore) => Promise<void>,
  ) {
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
    this.#opening ??= this.#start().catch((error: unknown) => {
      this.#opening = undefined;
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

  async #start(): Promise<ExperimentStore> {
    const store = await this.#open();
    try {
      await this.#onOpen(store);
    } catch (error) {
      await store.close();
      throw error;
    }
    this.#opened = store;
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
