import { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import type { VersionEntry } from './entries.ts';
import type { RegistryObserver, UnloadCause } from './registry-types.ts';
import { Residency } from './residency.ts';
import { evictions } from './routing.ts';
import { type AdmissionDeps, type Admitted, inspect, prove } from './version-admission.ts';

export interface LoaderOptions extends AdmissionDeps {
  /** Bytes all loaded models may take together; 0: no limit. */
  readonly memoryBytes: number;
  /** Models never unloaded for memory. */
  readonly pinned: ReadonlySet<string>;
  readonly observer: RegistryObserver;
  readonly now: () => number;
}

/** Failures of the surroundings, not of the model: the same files get another chance after a while. */
const PASSING: ReadonlySet<string> = new Set(['host_lost', 'provider_unavailable', 'tokenization_failed', 'internal']);
const RETRY_MS = 30_000;

/** Failures that say nothing about the model at all. */
const NO_REFUSAL: ReadonlySet<string> = new Set(['model_not_ready', 'shutting_down', 'client_closed']);

const bytes = (n: number) => `${(n / 1_048_576).toFixed(1)} MiB`;

/** Admits versions one after the other and keeps all of them within the memory budget. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #residents = new Map<Residency, VersionEntry>();
  readonly #mutex = new Mutex();

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /**
   * Admits and loads what the entry's folder holds now, and puts it in place. Loads wait for each other, so that the memory budget and the
   * hosts see one at a time.
   * @throws WinnowError `model_refused`, `model_not_ready`.
   */
  load(entry: VersionEntry): Promise<Residency> {
    return this.#mutex.run(() => this.#load(entry));
  }

  /** Resolves when no load is running. */
  idle(): Promise<void> {
    return this.#mutex.idle();
  }

  async #load(entry: VersionEntry): Promise<Residency> {
    const { fingerprint } = entry.disk;
    this.#checkWanted(entry);
    const admitted = await this.#admit(entry, fingerprint);
    const residency = new Residency(admitted, {
      pinned: this.#options.pinned.has(entry.name),
      now: this.#options.now(),
      unload: (gone, cause) => this.#unload(gone, cause),
    });
    this.#residents.set(residency, entry);
    if (entry.stopped || entry.removed) await residency.retire(entry.removed ? 'removed' : 'request');
    this.#checkWanted(entry);
    entry.settle(residency, fingerprint);
    this.#options.observer.onLoaded?.({ version: admitted.served, loadMs: admitted.loadMs, bytes: admitted.bytes });
    this.#trim(residency);
    return residency;
  }

  #checkWanted(entry: VersionEntry): void {
    if (!entry.stopped && !entry.removed) return;
    const reason = entry.removed ? 'its folder is gone' : 'it was unloaded by request';
    throw new WinnowError('model_not_ready', { model: `${entry.name}@${entry.version}`, reason });
  }

  async #admit(entry: VersionEntry, fingerprint: string): Promise<Admitted> {
    const { folder, skip } = entry.disk;
    const { name, version } = entry;
    try {
      const inspected = await inspect({ folder, skip }, { ...this.#options, provider: this.#options.pool.provider });
      this.#makeRoom(entry, entry.lastBytes ?? inspected.graph.bytes * this.#options.pool.size);
      const key = entry.nextKey(fingerprint);
      return await prove({ name, version, key, folder, skip }, inspected, this.#options);
    } catch (error) {
      throw this.#refuse(entry, fingerprint, error as Error);
    }
  }

  #refuse(entry: VersionEntry, fingerprint: string, cause: Error): WinnowError {
    const { name, version } = entry;
    const code = cause instanceof WinnowError ? cause.code : 'internal';
    if (cause instanceof WinnowError && NO_REFUSAL.has(code)) {
      entry.note = cause.message;
      return cause;
    }
    const reason = cause.message;
    const error = new WinnowError('model_refused', { model: name, version, reason }, { cause });
    const retryAt = PASSING.has(code) ? this.#options.now() + RETRY_MS : Number.POSITIVE_INFINITY;
    entry.refusal = { error, fingerprint, retryAt };
    this.#options.observer.onRefused?.({ name, version, code, reason });
    return error;
  }

  /** Lets the least recently used versions go until `needed` bytes fit. @throws WinnowError `model_not_ready`. */
  #makeRoom(entry: VersionEntry, needed: number): void {
    const { memoryBytes } = this.#options;
    if (memoryBytes === 0) return;
    const leaving = evictions([...this.#residents.keys()], needed, memoryBytes);
    if (!leaving)
      throw new WinnowError('model_not_ready', {
        model: `${entry.name}@${entry.version}`,
        reason: `it needs ${bytes(needed)} and all that is loaded within ${bytes(memoryBytes)} is in use or pinned`,
      });
    for (const residency of leaving) this.#evict(residency);
  }

  /** After a load its real size is known; others leave if it took more than was thought. */
  #trim(latest: Residency): void {
    const { memoryBytes } = this.#options;
    if (memoryBytes === 0) return;
    const others = [...this.#residents.keys()].filter((r) => r !== latest);
    for (const residency of evictions(others, latest.bytes, memoryBytes) ?? []) this.#evict(residency);
  }

  #evict(residency: Residency): void {
    const owner = this.#residents.get(residency);
    if (owner?.resident === residency) void owner.retire('memory');
  }

  async #unload(residency: Residency, cause: UnloadCause): Promise<void> {
    const { served } = residency;
    this.#residents.delete(residency);
    try {
      await this.#options.pool.unload(served.key);
    } catch (error) {
      this.#options.observer.onProblem?.({ where: served.key, reason: `unload: ${(error as Error).message}` });
    }
    this.#options.observer.onUnloaded?.({ version: served, cause });
  }
}
