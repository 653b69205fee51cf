import type { Lease, ServedVersion, UnloadCause } from './registry-types.ts';
import type { EvictionCandidate } from './routing.ts';
import type { Admitted } from './version-admission.ts';

/** A loaded version and its leases. Unloads from the hosts when it is retired and its last lease is released. */
export class LoadedVersion implements EvictionCandidate {
  readonly served: ServedVersion;
  /** Path of the ONNX file that is served. */
  readonly file: string;
  readonly pinned: boolean;
  readonly #bytes: number;
  readonly #unload: (loaded: LoadedVersion, cause: UnloadCause) => Promise<void>;
  readonly #unloaded = Promise.withResolvers<void>();
  #leases = 0;
  #lastUsed: number;
  #cause: UnloadCause | undefined;

  constructor(
    admitted: Admitted,
    options: {
      readonly pinned: boolean;
      readonly now: number;
      readonly unload: (loaded: LoadedVersion, cause: UnloadCause) => Promise<void>;
    },
  ) {
    this.served = admitted.served;
    this.file = admitted.file;
    this.#bytes = admitted.bytes;
    this.pinned = options.pinned;
    this.#lastUsed = options.now;
    this.#unload = options.unload;
  }

  /** Memory over all hosts, that of an early score included once it is loaded. */
  get bytes(): number {
    return this.#bytes + (this.served.pruning?.bytes ?? 0);
  }

  get inUse(): boolean {
    return this.#leases > 0;
  }

  get lastUsed(): number {
    return this.#lastUsed;
  }

  get retired(): boolean {
    return this.#cause !== undefined;
  }

  /** Returns a lease. Must not be called after `retire`. */
  lease(now: number): Lease {
    this.#leases++;
    this.#lastUsed = now;
    let isHeld = true;
    return {
      version: this.served,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#leases--;
        this.#unloadIfIdle();
      },
    };
  }

  /** Ends new leases; resolves when the last lease is released and the hosts have unloaded the version. */
  retire(cause: UnloadCause): Promise<void> {
    if (this.#cause === undefined) {
      this.#cause = cause;
      this.#unloadIfIdle();
    }
    return this.#unloaded.promise;
  }

  #unloadIfIdle(): void {
    if (this.#cause === undefined || this.#leases > 0) return;
    this.#unloaded.resolve(this.#unload(this, this.#cause));
  }
}
