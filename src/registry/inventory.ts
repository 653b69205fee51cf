import type { WinnowError } from '../errors.ts';
import { Mutex } from '../util/mutex.ts';
import { ModelEntry, VersionEntry } from './entries.ts';
import type { FolderLimits } from './folder-files.ts';
import { DEFAULT_FILE } from './labels.ts';
import { type Catalog, defaultReference, type ModelOnDisk, type Problem, readCatalog } from './registry-catalog.ts';
import type { RegistryObserver } from './registry-types.ts';
import { unknownModel } from './unknown-names.ts';

/** The models of a registry folder at its last reading. */
export class Inventory {
  readonly folder: string;
  readonly #limits: FolderLimits | undefined;
  readonly #observer: RegistryObserver;
  readonly #furtherNames: readonly string[];
  readonly #models = new Map<string, ModelEntry>();
  #problems: ReadonlySet<string> = new Set();
  #default: string | undefined;
  #isOpen = false;
  readonly #mutex = new Mutex();
  #queued: Promise<readonly ModelEntry[]> | undefined;

  /** @param furtherNames names of aliases and cascades, for errors that list names. */
  constructor(
    folder: string,
    limits: FolderLimits | undefined,
    observer: RegistryObserver,
    furtherNames: readonly string[],
  ) {
    this.folder = folder;
    this.#limits = limits;
    this.#observer = observer;
    this.#furtherNames = furtherNames;
  }

  /** Reads the folder for the first time. @throws WinnowError `invalid_input` if it does not exist. */
  async open(): Promise<void> {
    this.#apply(await readCatalog(this.folder, this.#limits));
    this.#isOpen = true;
  }

  /** Returns the models by name. */
  models(): readonly ModelEntry[] {
    return [...this.#models.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Returns the reference that answers requests which name none; undefined where there is no model. */
  defaultReference(configured: string | undefined): string | undefined {
    return defaultReference({ models: this.models(), defaultModel: this.#default }, configured);
  }

  /** Returns a model. @throws WinnowError `unknown_model`. */
  model(name: string): ModelEntry {
    const model = this.#models.get(name);
    if (!model) throw this.unknownModel(name);
    return model;
  }

  has(name: string): boolean {
    return this.#models.has(name);
  }

  unknownModel(got: string): WinnowError {
    return unknownModel([...[...this.#models.keys()].sort(), ...this.#furtherNames], got);
  }

  /** Resolves when no reading and no change of labels is running. */
  idle(): Promise<void> {
    return this.#mutex.idle();
  }

  /** Runs changes of labels and readings of the folder one after another, so that a reading does not undo a label set meanwhile. */
  exclusive<T>(action: () => Promise<T>): Promise<T> {
    return this.#mutex.run(action);
  }

  /** Reads the folder; calls before the reading starts share it. Returns the models with new or changed versions. */
  read(): Promise<readonly ModelEntry[]> {
    this.#queued ??= this.exclusive(async () => {
      this.#queued = undefined;
      try {
        const catalog = await readCatalog(this.folder, this.#limits);
        if (catalog.models.length > 0 || !this.#serves()) return this.#apply(catalog);
        // A mount that is lost shows an empty folder. What serves from memory goes on until models are there again.
        this.#report([
          { where: this.folder, reason: 'expected the models that serve, got an empty folder; they go on serving' },
        ]);
        return [];
      } catch (error) {
        this.#report([{ where: this.folder, reason: (error as Error).message }]);
        return [];
      }
    });
    return this.#queued;
  }

  /** Whether a model is in memory. */
  #serves(): boolean {
    return this.models().some((model) => [...model.versions.values()].some((version) => version.loaded));
  }

  #apply(catalog: Catalog): readonly ModelEntry[] {
    this.#report(catalog.problems);
    if (!catalog.isUnreadable(DEFAULT_FILE)) this.#default = catalog.defaultModel;
    const names = new Set(catalog.models.map((m) => m.name));
    for (const [name, model] of this.#models) {
      if (names.has(name) || catalog.isUnreadable(name)) continue;
      for (const version of [...model.versions.keys()]) this.#remove(model, version);
      this.#models.delete(name);
    }
    const fresh = catalog.models
      // Without readable labels it is unknown which version of a model is released.
      .filter(({ name, labels }) => labels || this.#models.has(name) || !this.#isOpen)
      .filter((found) => this.#applyModel(found))
      .map((found) => this.#models.get(found.name)!);
    const versions = catalog.models.reduce((sum, m) => sum + m.versions.length, 0);
    this.#observer.onScanned?.({ models: catalog.models.length, versions });
    return fresh;
  }

  /** Updates one model. Returns whether a version is new or its files have changed. */
  #applyModel(found: ModelOnDisk): boolean {
    const model = this.#models.get(found.name) ?? new ModelEntry(found.name, found.folder);
    this.#models.set(found.name, model);
    model.folder = found.folder;
    if (found.labels) model.labels = found.labels;
    for (const version of [...model.versions.keys()])
      if (!found.versions.some((v) => v.version === version)) this.#remove(model, version);
    let isFresh = false;
    for (const disk of found.versions) {
      const entry = model.versions.get(disk.version);
      isFresh ||= entry?.disk.fingerprint !== disk.fingerprint;
      if (entry) entry.disk = disk;
      else model.versions.set(disk.version, new VersionEntry(found.name, disk));
    }
    return isFresh;
  }

  #remove(model: ModelEntry, version: string): void {
    const entry = model.versions.get(version)!;
    entry.removed = true;
    model.versions.delete(version);
    for (const [label, routed] of model.routes) if (routed === entry) model.routes.delete(label);
    void entry.retire('removed');
  }

  #report(problems: readonly Problem[]): void {
    const before = this.#problems;
    this.#problems = new Set(problems.map((p) => `${p.where}\0${p.reason}`));
    for (const problem of problems)
      if (!before.has(`${problem.where}\0${problem.reason}`)) this.#observer.onProblem?.(problem);
  }
}
