import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import type { VersionEntry } from './entries.ts';
import { LoadedVersion } from './loaded-version.ts';
import { earlyKey } from './pruning.ts';
import type { RegistryObserver, UnloadCause } from './registry-types.ts';
import { evictions } from './routing.ts';
import { type AdmissionDeps, type Admitted, inspectVersion, loadAndTest } from './version-admission.ts';

interface LoaderOptions extends AdmissionDeps {
  /** The largest memory of all loaded models together, in bytes; 0: no limit. */
  readonly memoryBytes: number;
  /** Models that are never unloaded for memory. */
  readonly pinned: ReadonlySet<string>;
  readonly observer: RegistryObserver;
  readonly now: () => number;
}

/** Errors that are not caused by the model: the same files are tried again after `RETRY_MS`. */
const RETRIED_CODES: ReadonlySet<string> = new Set([
  'host_lost',
  'provider_unavailable',
  'tokenization_failed',
  'internal',
]);
const RETRY_MS = 30_000;

/** Errors after which the model is not refused at all. */
const NOT_REFUSED_CODES: ReadonlySet<string> = new Set([
  'model_not_ready',
  'no_host',
  'shutting_down',
  'client_closed',
]);

const bytes = (n: number) => `${(n / 1_048_576).toFixed(1)} MiB`;

/** Admits versions one after another and keeps them within the memory budget. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #loaded = new Map<LoadedVersion, VersionEntry>();
  readonly #mutex = new Mutex();

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /**
   * Admits and loads the present files of an entry, then serves requests with them. Loads run one after another, because each changes the
   * memory budget.
   * @throws WinnowError `model_refused`, `model_not_ready`.
   */
  load(entry: VersionEntry): Promise<LoadedVersion> {
    return this.#mutex.run(() => this.#load(entry));
  }

  /** Resolves when no load is running. */
  idle(): Promise<void> {
    return this.#mutex.idle();
  }

  async #load(entry: VersionEntry): Promise<LoadedVersion> {
    const { fingerprint } = entry.disk;
    this.#checkWanted(entry);
    const admitted = await this.#admit(entry, fingerprint);
    const loaded = new LoadedVersion(admitted, {
      pinned: this.#options.pinned.has(entry.name),
      now: this.#options.now(),
      unload: (retired, cause) => this.#unload(retired, cause),
    });
    this.#loaded.set(loaded, entry);
    if (entry.stopped || entry.removed) await loaded.retire(entry.removed ? 'removed' : 'request');
    this.#checkWanted(entry);
    entry.serve(loaded, fingerprint);
    this.#options.observer.onLoaded?.({ version: admitted.served, loadMs: admitted.loadMs, bytes: admitted.bytes });
    admitted.served.pruning?.whenLoaded(() => this.#grown(loaded));
    this.#trim(loaded);
    return loaded;
  }

  #checkWanted(entry: VersionEntry): void {
    if (!entry.stopped && !entry.removed) return;
    const reason = entry.removed ? 'its folder was removed' : 'it was unloaded by request';
    throw new WinnowError('model_not_ready', { model: `${entry.name}@${entry.version}`, reason });
  }

  async #admit(entry: VersionEntry, fingerprint: string): Promise<Admitted> {
    const { folder, skip } = entry.disk;
    const { name, version } = entry;
    try {
      const inspected = await inspectVersion(
        { folder, skip },
        { ...this.#options, provider: this.#options.pool.provider },
      );
      this.#makeRoom(entry, entry.lastBytes ?? inspected.graph.bytes * this.#options.pool.size);
      const key = entry.nextKey(fingerprint);
      return await loadAndTest({ name, version, key, folder, skip }, inspected, this.#options);
    } catch (error) {
      throw this.#refuse(entry, fingerprint, error as Error);
    }
  }

  #refuse(entry: VersionEntry, fingerprint: string, cause: Error): WinnowError {
    const { name, version } = entry;
    const code = cause instanceof WinnowError ? cause.code : 'internal';
    if (cause instanceof WinnowError && NOT_REFUSED_CODES.has(code)) {
      entry.note = cause.message;
      return cause;
    }
    const reason = cause.message;
    const error = new WinnowError('model_refused', { model: name, version, reason }, { cause });
    const retryAt = RETRIED_CODES.has(code) ? this.#options.now() + RETRY_MS : Number.POSITIVE_INFINITY;
    entry.refusal = { error, fingerprint, retryAt };
    this.#options.observer.onRefused?.({ name, version, code, reason });
    return error;
  }

  /** Unloads the least recently used versions until `needed` bytes fit. @throws WinnowError `model_not_ready`. */
  #makeRoom(entry: VersionEntry, needed: number): void {
    const { memoryBytes } = this.#options;
    if (memoryBytes === 0) return;
    const evicted = evictions([...this.#loaded.keys()], needed, memoryBytes);
    if (!evicted)
      throw new WinnowError('model_not_ready', {
        model: `${entry.name}@${entry.version}`,
        reason: `it needs ${bytes(needed)} and all that is loaded within ${bytes(memoryBytes)} is in use or pinned`,
      });
    for (const loaded of evicted) this.#evict(loaded);
  }

  /** Unloads other versions if `latest` turned out larger than expected. */
  #trim(latest: LoadedVersion): void {
    const { memoryBytes } = this.#options;
    if (memoryBytes === 0) return;
    const others = [...this.#loaded.keys()].filter((r) => r !== latest);
    for (const loaded of evictions(others, latest.bytes, memoryBytes) ?? []) this.#evict(loaded);
  }

  /** Counts the memory of a version whose early score was loaded later. */
  #grown(loaded: LoadedVersion): void {
    this.#options.observer.onGrown?.({ version: loaded.served, bytes: loaded.bytes });
    this.#trim(loaded);
  }

  #evict(loaded: LoadedVersion): void {
    const owner = this.#loaded.get(loaded);
    if (owner?.loaded === loaded) void owner.retire('memory');
  }

  async #unload(loaded: LoadedVersion, cause: UnloadCause): Promise<void> {
    const { served } = loaded;
    this.#loaded.delete(loaded);
    try {
      await this.#options.pool.unload(served.key);
      if (served.passages) await this.#options.pool.unload(served.passages.key);
      if (served.pruning) await this.#options.pool.unload(earlyKey(served.key));
    } catch (error) {
      this.#options.observer.onProblem?.({ where: served.key, reason: `unload: ${(error as Error).message}` });
    }
    this.#options.observer.onUnloaded?.({ version: served, cause });
  }
}
