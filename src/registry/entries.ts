import type { WinnowError } from '../errors.ts';
import { STABLE } from './labels.ts';
import type { LoadedVersion } from './loaded-version.ts';
import type { VersionOnDisk } from './registry-catalog.ts';
import type { ServedVersion, UnloadCause, VersionState, VersionStatus } from './registry-types.ts';
import type { Routable } from './routing.ts';
import { kindOf } from './side-encoder.ts';
import { unknownVersion } from './unknown-names.ts';

interface Refusal {
  readonly error: WinnowError;
  /** The refused files; other files are tried again. */
  readonly fingerprint: string;
  /** Time from which the same files are tried again. */
  readonly retryAt: number;
}

/** What a status says about a version that is or was loaded. */
const factsOf = (served: ServedVersion) => {
  const { variant, provider, maxLength, maxQueryTokens, activation, calibration, warnings, rewrite } = served;
  return {
    variant,
    provider,
    maxLength,
    ...(maxQueryTokens === undefined ? {} : { maxQueryTokens }),
    activation,
    ...(calibration && { calibration }),
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(rewrite === undefined ? {} : { rewrite }),
    kind: kindOf(served),
  };
};

/** The state of one version in the registry. */
export class VersionEntry {
  readonly name: string;
  readonly version: string;
  disk: VersionOnDisk;
  loaded: LoadedVersion | undefined;
  loading: Promise<LoadedVersion> | undefined;
  refusal: Refusal | undefined;
  /** Whether it was unloaded by request; it then stays so until a request loads it. */
  stopped = false;
  /** Whether its folder was removed. */
  removed = false;
  /** Whether requests name it by `model@version`; a newer version then does not replace it. */
  namedExactly = false;
  /** Why it is not loaded, for its status. */
  note: string | undefined;
  readonly #draining = new Set<LoadedVersion>();
  #generation = 0;
  #loadedFrom: string | undefined;
  #last: { readonly served: ServedVersion; readonly bytes: number } | undefined;

  constructor(name: string, disk: VersionOnDisk) {
    this.name = name;
    this.version = disk.version;
    this.disk = disk;
  }

  get changedOnDisk(): boolean {
    return this.#loadedFrom !== this.disk.fingerprint;
  }

  /** Memory when it was last loaded, in bytes. */
  get lastBytes(): number | undefined {
    return this.#last?.bytes;
  }

  isRefused(now: number): boolean {
    return this.refusal?.fingerprint === this.disk.fingerprint && now < this.refusal.retryAt;
  }

  routable(now: number): Routable {
    const refused = this.loaded === undefined && this.isRefused(now);
    return { version: this.version, refused, stopped: this.stopped };
  }

  /**
   * Returns the key for the hosts: `name@version`, with a number if other files were loaded under that key, or still are, so that caches do
   * not mix them.
   */
  nextKey(fingerprint: string): string {
    const isTaken = this.loaded !== undefined || this.#draining.size > 0;
    if (this.#loadedFrom !== undefined && (isTaken || this.#loadedFrom !== fingerprint)) this.#generation++;
    const base = `${this.name}@${this.version}`;
    return this.#generation === 0 ? base : `${base}#${this.#generation}`;
  }

  /** Serves new requests by `loaded`. The version before it is unloaded when its requests are finished. */
  serve(loaded: LoadedVersion, fingerprint: string): void {
    const before = this.loaded;
    this.loaded = loaded;
    this.refusal = undefined;
    this.note = undefined;
    this.#loadedFrom = fingerprint;
    this.#last = { served: loaded.served, bytes: loaded.bytes };
    if (before) void this.#drain(before, 'replaced');
  }

  /** Ends new leases; resolves when running requests are finished and the memory is free. */
  async retire(cause: UnloadCause): Promise<void> {
    const { loaded } = this;
    this.loaded = undefined;
    if (loaded) await this.#drain(loaded, cause);
  }

  async #drain(loaded: LoadedVersion, cause: UnloadCause): Promise<void> {
    this.#draining.add(loaded);
    try {
      await loaded.retire(cause);
    } finally {
      this.#draining.delete(loaded);
    }
  }

  #state(now: number): { readonly state: VersionState; readonly reason?: string | undefined } {
    const { refusal } = this;
    const refused = this.isRefused(now) ? String(refusal!.error.params.reason) : undefined;
    if (this.loaded) return { state: 'ready', reason: refused && `still serves what it loaded before: ${refused}` };
    if (this.loading) return { state: 'loading' };
    if (this.#draining.size > 0) return { state: 'draining', reason: 'in-flight requests finish on it' };
    if (this.stopped) return { state: 'unloaded', reason: 'unloaded by request' };
    if (refused !== undefined) return { state: 'refused', reason: refused };
    return { state: 'available', reason: this.note };
  }

  status(labels: ReadonlyMap<string, string>, now: number): VersionStatus {
    const { state, reason } = this.#state(now);
    const served = this.loaded?.served ?? this.#last?.served;
    return {
      name: this.name,
      version: this.version,
      state,
      ...(reason === undefined ? {} : { reason }),
      labels: [...labels].filter(([, version]) => version === this.version).map(([label]) => label),
      ...(served ? factsOf(served) : {}),
      ...(served?.objective === undefined ? {} : { objective: served.objective }),
      ...(this.loaded ? { bytes: this.loaded.bytes, lastUsed: this.loaded.lastUsed } : {}),
    };
  }
}

/** The state of one model in the registry. */
export class ModelEntry {
  readonly name: string;
  folder: string;
  readonly versions = new Map<string, VersionEntry>();
  labels: ReadonlyMap<string, string> = new Map();
  /** The versions that serve requests now: by label, with `stable` for requests without one. */
  readonly routes = new Map<string, VersionEntry>();
  stopped = false;

  constructor(name: string, folder: string) {
    this.name = name;
    this.folder = folder;
  }

  routables(now: number): readonly Routable[] {
    return [...this.versions.values()].map((v) => v.routable(now));
  }

  version(version: string): VersionEntry {
    const entry = this.versions.get(version);
    if (entry) return entry;
    throw this.unknownVersion(version);
  }

  unknownVersion(got: string): WinnowError {
    return unknownVersion(this.name, [...this.versions.keys(), ...this.labels.keys()], got);
  }

  /** Returns loaded versions that neither a route, a label nor an exact reference uses, except `previous`. */
  superseded(previous: VersionEntry | undefined): readonly VersionEntry[] {
    const routed = new Set(this.routes.values());
    const labeled = new Set(this.labels.values());
    return [...this.versions.values()].filter(
      (v) => v.loaded && v !== previous && !v.namedExactly && !routed.has(v) && !labeled.has(v.version),
    );
  }
}

/** Returns the route of a label. Requests without a label use the route `stable`, whether or not the label exists. */
export const routeOf = (label: string | undefined): string => label ?? STABLE;
