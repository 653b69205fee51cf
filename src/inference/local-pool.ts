import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import type { HostPool, InferenceRow, LoadSpec, Provider, ProviderSetting } from './inference-types.ts';
import { chooseProvider } from './providers.ts';
import { scoreBatch } from './score-batch.ts';
import { SessionTable } from './session-table.ts';

interface LocalPoolOptions {
  readonly provider?: ProviderSetting;
  /** 0 (the default) takes the whole CPU budget. */
  readonly threads?: number;
  readonly device?: number;
}

interface Held {
  readonly handle: number;
  readonly spec: LoadSpec;
}

/**
 * Creates a pool of one that runs in the calling process, for commands and tests. It blocks the calling thread while a batch runs, and a
 * graph that crashes the engine ends the calling process.
 * @throws WinnowError `provider_unavailable`.
 */
export async function createLocalPool(options: LocalPoolOptions = {}): Promise<HostPool> {
  const { provider: setting = 'cpu', threads = 0, device = 0 } = options;
  const provider = await chooseProvider(setting, device);
  return new LocalPool(new SessionTable({ provider, threads, device }), provider);
}

class LocalPool implements HostPool {
  readonly size = 1;
  readonly provider: Provider;
  readonly #sessions: SessionTable;
  readonly #models = new Map<string, Held>();
  #handles = 0;
  #closed = false;
  /** Input buffers are reused by the next run, so runs must not overlap. */
  readonly #mutex = new Mutex();

  constructor(sessions: SessionTable, provider: Provider) {
    this.#sessions = sessions;
    this.provider = provider;
  }

  async load(spec: LoadSpec) {
    this.#refuseWhenClosed();
    const handle = ++this.#handles;
    const facts = await this.#mutex.run(() => this.#sessions.load(handle, spec));
    const before = this.#models.get(spec.key);
    this.#models.set(spec.key, { handle, spec });
    if (before) await this.#mutex.run(() => this.#sessions.unload(before.handle));
    return { key: spec.key, provider: this.provider, ...facts };
  }

  async unload(key: string): Promise<void> {
    const held = this.#models.get(key);
    this.#models.delete(key);
    if (held) await this.#mutex.run(() => this.#sessions.unload(held.handle));
  }

  async run(key: string, rows: readonly InferenceRow[], signal?: AbortSignal) {
    this.#refuseWhenClosed();
    const held = this.#models.get(key);
    if (!held) throw new WinnowError('model_not_ready', { model: key, reason: 'it is not loaded' });
    return scoreBatch(rows, held.spec.maxLength, (part) =>
      this.#mutex.run(async () => {
        signal?.throwIfAborted();
        return { ...(await this.#runSession(held.handle, part)), host: 0 };
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const key of [...this.#models.keys()]) await this.unload(key);
  }

  async #runSession(handle: number, rows: readonly InferenceRow[]) {
    try {
      return await this.#sessions.run(handle, rows);
    } catch (error) {
      if (error instanceof WinnowError) throw error;
      throw new WinnowError('inference_failed', { reason: (error as Error).message.trim() }, { cause: error });
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new WinnowError('shutting_down');
  }
}
