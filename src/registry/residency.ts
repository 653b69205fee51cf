import type { Lease, ServedVersion, UnloadCause } from './registry-types.ts';
import type { Resident } from './routing.ts';
import type { Admitted } from './version-admission.ts';

/** A loaded version and who uses it. Leaves the hosts once it is retired and its last lease is released. */
export class Residency implements Resident {
  readonly served: ServedVersion;
  readonly bytes: number;
  readonly pinned: boolean;
  readonly #unload: (residency: Residency, cause: UnloadCause) => Promise<void>;
  readonly #gone = Promise.withResolvers<void>();
  #leases = 0;
  #lastUsed: number;
  #cause: UnloadCause | undefined;

  constructor(
    admitted: Admitted,
    options: {
      readonly pinned: boolean;
      readonly now: number;
      readonly unload: (residency: Residency, cause: UnloadCause) => Promise<void>;
    },
  ) {
    this.served = admitted.served;
    this.bytes = admitted.bytes;
    this.pinned = options.pinned;
    this.#lastUsed = options.now;
    this.#unload = options.unload;
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

  /** Must not be called once retired. */
  lease(now: number): Lease {
    this.#leases++;
    this.#lastUsed = now;
    let held = true;
    return {
      version: this.served,
      release: () => {
        if (!held) return;
        held = false;
        this.#leases--;
        this.#leaveIfIdle();
      },
    };
  }

  /** No new leases; resolves when the last one is released and the hosts have let go of it. */
  retire(cause: UnloadCause): Promise<void> {
    if (this.#cause === undefined) {
      this.#cause = cause;
      this.#leaveIfIdle();
    }
    return this.#gone.promise;
  }

  #leaveIfIdle(): void {
    if (this.#cause === undefined || this.#leases > 0) return;
    this.#gone.resolve(this.#unload(this, this.#cause));
  }
}
