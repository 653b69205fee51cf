import { stat } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';
import { steadyNow } from '../util/clock.ts';
import { Aliases, type Cascades, lastStages, nameProblems } from './aliases.ts';
import { type ModelEntry, routeOf, type VersionEntry } from './entries.ts';
import { type FolderWatch, watchFolder } from './folder-watch.ts';
import { Inventory } from './inventory.ts';
import { putLabel } from './labels.ts';
import type { LoadedVersion } from './loaded-version.ts';
import { compareVersions, excerpt, isName, NAME_RULE, parseReference, type Reference } from './model-names.ts';
import type { Lease, ModelRegistry, RegistryObserver, VersionStatus } from './registry-types.ts';
import { candidates } from './routing.ts';
import type { AdmissionDeps } from './version-admission.ts';
import { Loader } from './version-loader.ts';

export interface RegistryOptions extends AdmissionDeps {
  readonly folder: string;
  /** `model`, `model@version` or `model:label` for requests that name none. Default: that of `default.json`, else the first by name. */
  readonly defaultModel?: string | undefined;
  /** The largest memory of all loaded models together, over all hosts, in bytes; 0 (the default): no limit. */
  readonly memoryBytes?: number;
  readonly pinned?: readonly string[];
  /** Further names of models: name of a client → `model`, `model@version` or `model:label`; `*` for all others. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Names of cascades, each with the models of its stages. A name stands for the last one, whose version answers, where no cascade can run. */
  readonly cascades?: Cascades;
  /** Whether changes of the folder are followed. Default: false. */
  readonly watch?: boolean;
  /** Milliseconds between readings of the folder without an event, when changes are followed. Default: 30,000. */
  readonly pollMs?: number;
  readonly observer?: RegistryObserver;
  readonly now?: () => number;
}

/** A registry over a folder. */
export interface FolderRegistry extends ModelRegistry {
  /** Reads the folder again; resolves when new versions are loaded or refused. */
  rescan(): Promise<void>;
  /**
   * Checks that the version which answers requests without a model could be loaded again: its ONNX file is in the registry folder.
   * @throws WinnowError `model_not_ready` with what is missing.
   */
  checkFiles(): Promise<void>;
}

const notReady = (model: string, reason: string) => new WinnowError('model_not_ready', { model, reason });

class Registry implements FolderRegistry {
  readonly #options: RegistryOptions;
  readonly #observer: RegistryObserver;
  readonly #now: () => number;
  readonly #loader: Loader;
  readonly #inventory: Inventory;
  readonly #aliases: Aliases;
  #watch: FolderWatch | undefined;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#observer = options.observer ?? {};
    this.#now = options.now ?? steadyNow;
    this.#aliases = new Aliases({ ...options.aliases, ...lastStages(options.cascades) });
    const furtherNames = this.#aliases.named().map(([alias]) => alias);
    this.#inventory = new Inventory(options.folder, options.limits, this.#observer, furtherNames);
    this.#loader = new Loader({
      ...options,
      memoryBytes: options.memoryBytes ?? 0,
      pinned: new Set(options.pinned),
      observer: this.#observer,
      now: this.#now,
    });
  }

  async start(): Promise<void> {
    await this.#inventory.open();
    for (const problem of nameProblems(this.#aliases, this.#options.cascades, (name) => this.#inventory.has(name)))
      this.#observer.onProblem?.(problem);
    if (!this.#options.watch) return;
    this.#watch = watchFolder(this.#options.folder, {
      onChange: () => void this.rescan(),
      onProblem: (reason) => this.#observer.onProblem?.({ where: this.#options.folder, reason }),
      pollMs: this.#options.pollMs ?? 30_000,
    });
    await this.#watch.ready;
    await this.rescan();
  }

  get defaultModel(): string | undefined {
    const reference = this.#inventory.defaultReference(this.#options.defaultModel);
    return reference === undefined ? undefined : this.canonical(reference);
  }

  async acquire(reference?: string): Promise<Lease> {
    if (this.#closed) throw new WinnowError('shutting_down');
    const { name, version, label } = this.#parse(reference);
    const model = this.#inventory.model(name);
    if (version === undefined) return this.#leaseRouted(model, label);
    const entry = model.version(version);
    entry.namedExactly = true;
    return this.#lease(entry);
  }

  canonical(reference: string): string {
    return this.#aliases.canonical(reference, (name) => this.#inventory.has(name));
  }

  aliases(): readonly (readonly [alias: string, reference: string])[] {
    return this.#aliases.named();
  }

  list(): readonly VersionStatus[] {
    const now = this.#now();
    return this.#inventory
      .models()
      .flatMap((model) =>
        [...model.versions.values()]
          .sort((a, b) => compareVersions(a.version, b.version))
          .map((version) => version.status(model.labels, now)),
      );
  }

  async load(name: string, version?: string): Promise<readonly VersionStatus[]> {
    if (this.#closed) throw new WinnowError('shutting_down');
    await this.#inventory.read();
    const model = this.#inventory.model(name);
    if (version !== undefined) model.version(version);
    model.stopped = false;
    const named = version === undefined ? [...model.versions.values()] : [model.version(version)];
    for (const entry of named) {
      entry.stopped = false;
      entry.refusal = undefined;
    }
    const entry = version === undefined ? this.#selected(model) : model.version(version);
    // Twice, because a running load may have begun before the files changed.
    for (let i = 0; i < 2 && (!entry.loaded || entry.changedOnDisk); i++) await this.#startLoading(entry);
    if (candidates(model.routables(this.#now()), model.labels, undefined)[0] === entry.version)
      this.#route(model, undefined, entry);
    return this.list().filter((status) => status.name === name);
  }

  async unload(name: string, version?: string): Promise<void> {
    const model = this.#inventory.model(name);
    const entries = version === undefined ? [...model.versions.values()] : [model.version(version)];
    if (version === undefined) model.stopped = true;
    for (const entry of entries) entry.stopped = true;
    await Promise.all(entries.map((entry) => entry.retire('request')));
    await Promise.allSettled(entries.map((entry) => entry.loading));
  }

  async setLabel(name: string, label: string, version: string): Promise<void> {
    if (!isName(label))
      throw new WinnowError('invalid_field', { expected: NAME_RULE, got: excerpt(label), field: 'label' });
    const model = this.#inventory.model(name);
    const entry = model.version(version);
    await this.#ensureLoaded(entry);
    await this.#inventory.exclusive(async () => {
      model.labels = await putLabel(model.folder, label, version);
      this.#route(model, label, entry);
    });
  }

  async rescan(): Promise<void> {
    if (this.#closed) return;
    const fresh = await this.#inventory.read();
    for (const model of this.#inventory.models()) await this.#updateModel(model, fresh.includes(model));
  }

  async checkFiles(): Promise<void> {
    const { name, version, label } = this.#parse(undefined);
    const model = this.#inventory.model(name);
    const entry = version === undefined ? model.routes.get(routeOf(label)) : model.version(version);
    const loaded = entry?.loaded;
    if (!loaded) return;
    const facts = await stat(loaded.file).catch((error: NodeJS.ErrnoException) => error);
    if (facts instanceof Error) throw notReady(loaded.served.key, `${loaded.file} cannot be read: ${facts.code}`);
    if (!facts.isFile() || facts.size === 0) throw notReady(loaded.served.key, `${loaded.file} is empty or no file`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#watch?.close();
    await this.#inventory.idle();
    await this.#loader.idle();
  }

  #parse(reference: string | undefined): Reference {
    const text = reference ?? this.defaultModel;
    if (text === undefined) throw notReady('the default model', 'the registry holds no model');
    const parsed = parseReference(this.canonical(text));
    if (!parsed) throw this.#inventory.unknownModel(text);
    return parsed;
  }

  /** Returns the version that labels and numbers select, whatever version serves now. */
  #selected(model: ModelEntry): VersionEntry {
    const [first] = candidates(model.routables(this.#now()), model.labels, undefined);
    if (first !== undefined) return model.versions.get(first)!;
    throw this.#noVersionError(model, undefined);
  }

  #noVersionError(model: ModelEntry, label: string | undefined): WinnowError {
    const pointed = model.labels.get(routeOf(label));
    if (pointed !== undefined) return model.unknownVersion(pointed);
    const refused = [...model.versions.values()]
      .sort((a, b) => compareVersions(a.version, b.version))
      .find((v) => v.refusal);
    return refused?.refusal?.error ?? notReady(model.name, 'it has no version that may serve');
  }

  async #leaseRouted(model: ModelEntry, label: string | undefined): Promise<Lease> {
    if (label !== undefined && !model.labels.has(label)) throw model.unknownVersion(label);
    if (model.stopped) throw notReady(model.name, 'it was unloaded by request');
    const active = model.routes.get(routeOf(label));
    if (active?.loaded) return active.loaded.lease(this.#now());
    const names = candidates(model.routables(this.#now()), model.labels, label);
    const entries = new Set(names.map((name) => model.versions.get(name)!));
    if (active) entries.add(active);
    let refusal: unknown;
    for (const entry of entries) {
      try {
        const lease = await this.#lease(entry);
        this.#route(model, label, entry);
        return lease;
      } catch (error) {
        if (!(error instanceof WinnowError && error.code === 'model_refused')) throw error;
        refusal ??= error;
      }
    }
    throw refusal ?? this.#noVersionError(model, label);
  }

  async #lease(entry: VersionEntry): Promise<Lease> {
    for (;;) {
      const loaded = entry.loaded ?? (await this.#ensureLoaded(entry));
      if (!loaded.retired) return loaded.lease(this.#now());
    }
  }

  async #ensureLoaded(entry: VersionEntry): Promise<LoadedVersion> {
    if (entry.loaded) return entry.loaded;
    if (entry.stopped) throw notReady(`${entry.name}@${entry.version}`, 'it was unloaded by request');
    if (!entry.loading && entry.isRefused(this.#now())) throw entry.refusal!.error;
    return this.#startLoading(entry);
  }

  /** Starts loading an entry, or returns the load that is running. */
  #startLoading(entry: VersionEntry): Promise<LoadedVersion> {
    entry.loading ??= this.#loader.load(entry).finally(() => {
      entry.loading = undefined;
    });
    return entry.loading;
  }

  #route(model: ModelEntry, label: string | undefined, entry: VersionEntry): void {
    const before = model.routes.get(routeOf(label));
    if (before === entry || entry.removed) return;
    model.routes.set(routeOf(label), entry);
    this.#observer.onRouted?.({ name: model.name, label, from: before?.version, to: entry.version });
    // The previous version stays loaded for a quick rollback; older unused ones are unloaded.
    for (const old of model.superseded(before)) void old.retire('replaced');
  }

  /** Loads what the folder selects. Failed versions are reported as refused and change nothing. */
  async #updateModel(model: ModelEntry, isFresh: boolean): Promise<void> {
    if (model.stopped) return;
    for (const entry of model.versions.values())
      if (entry.loaded && entry.changedOnDisk && !entry.isRefused(this.#now()))
        await this.#startLoading(entry).catch(() => undefined);
    for (const label of [undefined, ...model.labels.keys()])
      if (isFresh || model.routes.has(routeOf(label))) await this.#updateRoute(model, label);
  }

  async #updateRoute(model: ModelEntry, label: string | undefined): Promise<void> {
    const active = model.routes.get(routeOf(label));
    for (const name of candidates(model.routables(this.#now()), model.labels, label)) {
      const entry = model.versions.get(name);
      if (!entry || entry === active) return;
      try {
        await this.#ensureLoaded(entry);
      } catch {
        continue;
      }
      // The label may have moved while the version was loading; a later reading handles that.
      if (candidates(model.routables(this.#now()), model.labels, label).includes(name))
        this.#route(model, label, entry);
      return;
    }
  }
}

/**
 * Opens a registry folder. Models are loaded by `acquire` and `load`.
 * @throws WinnowError `invalid_input` if the folder does not exist.
 */
export async function createRegistry(options: RegistryOptions): Promise<FolderRegistry> {
  const registry = new Registry(options);
  await registry.start();
  return registry;
}
