import { WinnowError } from '../errors.ts';
import { STABLE } from './labels.ts';
import type { VersionOnDisk } from './registry-catalog.ts';
import type { ServedVersion, UnloadCause, VersionState, VersionStatus } from './registry-types.ts';
import type { Residency } from './residency.ts';
import type { Routable } from './routing.ts';

export interface Refusal {
  readonly error: WinnowError;
  /** The files it was said of; other files get another chance. */
  readonly fingerprint: string;
  /** Point on the clock from which the same files get another chance. */
  readonly retryAt: number;
}

/** What the registry knows of one version. */
export class VersionEntry {
  readonly name: string;
  readonly version: string;
  disk: VersionOnDisk;
  resident: Residency | undefined;
  loading: Promise<Residency> | undefined;
  refusal: Refusal | undefined;
  /** Unloaded by request: waits for a request to load it. */
  stopped = false;
  /** The folder is gone. */
  removed = false;
  /** Requests name it by `model@version`, so that a newer version does not push it out. */
  namedExactly = false;
  /** What it waits for. */
  note: string | undefined;
  readonly #draining = new Set<Residency>();
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

  /** Memory it took when it was loaded last. */
  get lastBytes(): number | undefined {
    return this.#last?.bytes;
  }

  isRefused(now: number): boolean {
    return this.refusal?.fingerprint === this.disk.fingerprint && now < this.refusal.retryAt;
  }

  routable(now: number): Routable {
    const refused = this.resident === undefined && this.isRefused(now);
    return { version: this.version, refused, stopped: this.stopped };
  }

  /**
   * Key for the hosts: `name@version`, with a number behind it when other files were loaded under that name before, or while they still
   * are: caches must not mix them up.
   */
  nextKey(fingerprint: string): string {
    const isTaken = this.resident !== undefined || this.#draining.size > 0;
    if (this.#loadedFrom !== undefined && (isTaken || this.#loadedFrom !== fingerprint)) this.#generation++;
    const base = `${this.name}@${this.version}`;
    return this.#generation === 0 ? base : `${base}#${this.#generation}`;
  }

  /** Puts a loaded version in place; the one before it finishes its work and leaves. */
  settle(residency: Residency, fingerprint: string): void {
    const before = this.resident;
    this.resident = residency;
    this.refusal = undefined;
    this.note = undefined;
    this.#loadedFrom = fingerprint;
    this.#last = { served: residency.served, bytes: residency.bytes };
    if (before) void this.#drain(before, 'replaced');
  }

  /** No new leases; resolves when the work on it is finished and the memory free. */
  async retire(cause: UnloadCause): Promise<void> {
    const { resident } = this;
    this.resident = undefined;
    if (resident) await this.#drain(resident, cause);
  }

  async #drain(residency: Residency, cause: UnloadCause): Promise<void> {
    this.#draining.add(residency);
    try {
      await residency.retire(cause);
    } finally {
      this.#draining.delete(residency);
    }
  }

  #state(now: number): { readonly state: VersionState; readonly reason?: string | undefined } {
    const { refusal } = this;
    const refused = this.isRefused(now) ? String(refusal!.error.params.reason) : undefined;
    if (this.resident) return { state: 'ready', reason: refused && `still serves what it loaded before: ${refused}` };
    if (this.loading) return { state: 'loading' };
    if (this.#draining.size > 0) return { state: 'draining', reason: 'in-flight requests finish on it' };
    if (this.stopped) return { state: 'unloaded', reason: 'unloaded by request' };
    if (refused !== undefined) return { state: 'refused', reason: refused };
    return { state: 'available', reason: this.note };
  }

  status(labels: ReadonlyMap<string, string>, now: number): VersionStatus {
    const { state, reason } = this.#state(now);
    const served = this.resident?.served ?? this.#last?.served;
    return {
      name: this.name,
      version: this.version,
      state,
      ...(reason === undefined ? {} : { reason }),
      labels: [...labels].filter(([, version]) => version === this.version).map(([label]) => label),
      ...(served ? { variant: served.variant, provider: served.provider, maxLength: served.maxLength } : {}),
      ...(served?.objective === undefined ? {} : { objective: served.objective }),
      ...(this.resident ? { bytes: this.resident.bytes, lastUsed: this.resident.lastUsed } : {}),
    };
  }
}

/** What the registry knows of one model. */
export class ModelEntry {
  readonly name: string;
  folder: string;
  readonly versions = new Map<string, VersionEntry>();
  labels: ReadonlyMap<string, string> = new Map();
  /** Where requests go now: by label, `stable` for those that name none. */
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
    const known = [...this.versions.keys(), ...this.labels.keys()].slice(0, 20).join(', ') || 'none';
    return new WinnowError('unknown_version', { model: this.name, known, got });
  }

  /** Versions that no request would reach without naming them exactly, and that nobody named. */
  superseded(previous: VersionEntry | undefined): readonly VersionEntry[] {
    const routed = new Set(this.routes.values());
    const labeled = new Set(this.labels.values());
    return [...this.versions.values()].filter(
      (v) => v.resident && v !== previous && !v.namedExactly && !routed.has(v) && !labeled.has(v.version),
    );
  }
}

/** Requests without a label travel the route of `stable`, whether or not there is such a label. */
export const routeOf = (label: string | undefined): string => label ?? STABLE;
