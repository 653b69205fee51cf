import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import type { HostPool, InferenceRow, LoadSpec, Provider, ProviderSetting } from './inference-types.ts';
import { chooseProvider } from './providers.ts';
import { scoreBatch } from './score-batch.ts';
import { Engine } from './session-table.ts';

export interface LocalPoolOptions {
  readonly provider?: ProviderSetting;
  /** 0 or absent takes the whole CPU budget. */
  readonly threads?: number;
  readonly device?: number;
}

interface Held {
  readonly handle: number;
  readonly spec: LoadSpec;
}

/**
 * A pool of one without a process of its own, for commands and tests: it blocks its caller's thread while a batch runs, and a graph that
 * takes the process down takes the caller with it.
 * @throws WinnowError `provider_unavailable`.
 */
export async function createLocalPool(options: LocalPoolOptions = {}): Promise<HostPool> {
  const { provider: setting = 'cpu', threads = 0, device = 0 } = options;
  const provider = await chooseProvider(setting, device);
  return new LocalPool(new Engine({ provider, threads, device }), provider);
}

class LocalPool implements HostPool {
  readonly size = 1;
  readonly provider: Provider;
  readonly #engine: Engine;
  readonly #models = new Map<string, Held>();
  #handles = 0;
  #closed = false;
  /** The engine's tensors are reused from run to run, so runs follow one another. */
  readonly #mutex = new Mutex();

  constructor(engine: Engine, provider: Provider) {
    this.#engine = engine;
    this.provider = provider;
  }

  async load(spec: LoadSpec) {
    this.#refuseWhenClosed();
    const handle = ++this.#handles;
    const facts = await this.#mutex.run(() => this.#engine.load(handle, spec));
    const before = this.#models.get(spec.key);
    this.#models.set(spec.key, { handle, spec });
    if (before) await this.#mutex.run(() => this.#engine.unload(before.handle));
    return { key: spec.key, provider: this.provider, ...facts };
  }

  async unload(key: string): Promise<void> {
    const held = this.#models.get(key);
    this.#models.delete(key);
    if (held) await this.#mutex.run(() => this.#engine.unload(held.handle));
  }

  async run(key: string, rows: readonly InferenceRow[], signal?: AbortSignal) {
    this.#refuseWhenClosed();
    const held = this.#models.get(key);
    if (!held) throw new WinnowError('model_not_ready', { model: key, reason: 'it is not loaded' });
    return scoreBatch(rows, held.spec.maxLength, (part) =>
      this.#mutex.run(async () => {
        signal?.throwIfAborted();
        return { ...(await this.#engineRun(held.handle, part)), host: 0 };
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const key of [...this.#models.keys()]) await this.unload(key);
  }

  async #engineRun(handle: number, rows: readonly InferenceRow[]) {
    try {
      return await this.#engine.run(handle, rows);
    } catch (error) {
      if (error instanceof WinnowError) throw error;
      throw new WinnowError('inference_failed', { reason: (error as Error).message.trim() }, { cause: error });
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new WinnowError('shutting_down');
  }
}
