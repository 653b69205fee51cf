import { WinnowError } from '../../errors.ts';
import { Mutex } from '../../util/mutex.ts';
import { parseJson } from '../../util/parse-json.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { AuditEntry, ExperimentStore, StoredDefinition } from '../records.ts';
import { checkExperiment, configHash, type Experiment } from './definition.ts';
import type { FileState } from './definition-file.ts';
import { diffOf } from './diff.ts';

/** A definition in effect and where it comes from. */
export interface Defined {
  readonly experiment: Experiment;
  readonly source: 'file' | 'api';
}

interface DefinitionBookOptions {
  readonly store: () => Promise<ExperimentStore>;
  readonly observer: ExperimentObserver;
  /** Returns milliseconds since 1970. */
  readonly now: () => number;
  /** Called after every change of the definitions in effect. */
  readonly onChange: (defined: readonly Defined[]) => void;
}

const FILE = 'experiments.yaml';

const parseStored = ({ definition, name }: StoredDefinition): Experiment | undefined => {
  try {
    return checkExperiment(parseJson(definition), `definition ${name}`);
  } catch {
    // Written by a release with another schema: it has no effect until it is put again.
    return undefined;
  }
};

/**
 * The definitions in effect. Those of experiments.yaml come first, in the file's order, and can be changed only there. Those put through
 * the API are kept in the store and follow by name. The store also keeps the file's last definitions, so that a change made while no
 * server ran is audited too.
 */
export class DefinitionBook {
  readonly #options: DefinitionBookOptions;
  #file: FileState | undefined;
  #api: readonly StoredDefinition[] = [];
  #defined: readonly Defined[] = [];
  /** Changes happen one after another. */
  readonly #mutex = new Mutex();

  constructor(options: DefinitionBookOptions) {
    this.#options = options;
  }

  get defined(): readonly Defined[] {
    return this.#defined;
  }

  /** Takes the file's definitions. They are in effect at once; the next `sync` audits them. */
  setFile(state: FileState): void {
    this.#file = state;
    this.#update();
  }

  /** Audits what the file changed and reads what other servers put. @throws the database's error. */
  sync(): Promise<void> {
    return this.#mutex.run(async () => {
      const store = await this.#options.store();
      await this.#auditFile(store);
      await this.#readApi(store);
    });
  }

  /** Puts a definition. @returns whether it is the first of its name. @throws WinnowError `experiment_in_file`. */
  put(experiment: Experiment, who: string): Promise<boolean> {
    return this.#mutex.run(async () => {
      this.#checkNotInFile(experiment.name);
      const store = await this.#options.store();
      const before = (await store.definitions()).find(({ name }) => name === experiment.name);
      const stored = this.#stored(experiment, 'api', who);
      if (before?.configHash !== stored.configHash || before.source !== 'api')
        await this.#write(stored, before, (entry) => store.putDefinition(stored, entry));
      await this.#readApi(store);
      return before === undefined;
    });
  }

  /** Removes a definition put through the API. @throws WinnowError `unknown_experiment`, `experiment_in_file`. */
  remove(name: string, who: string): Promise<void> {
    return this.#mutex.run(async () => {
      this.#checkNotInFile(name);
      const store = await this.#options.store();
      const before = (await store.definitions()).find((one) => one.name === name && one.source === 'api');
      if (!before) throw this.unknown(name);
      await this.#removeStored(store, before, who);
      await this.#readApi(store);
    });
  }

  /** Makes the error for a name that no definition in effect has. */
  unknown(name: string): WinnowError {
    const known = this.#defined.map(({ experiment }) => experiment.name).join(', ');
    return new WinnowError('unknown_experiment', { known: known || 'no experiment yet', got: name });
  }

  #checkNotInFile(name: string): void {
    if (this.#file?.experiments.some((experiment) => experiment.name === name))
      throw new WinnowError('experiment_in_file', { name, file: FILE });
  }

  #stored(experiment: Experiment, source: StoredDefinition['source'], who: string): StoredDefinition {
    const { name } = experiment;
    const definition = JSON.stringify(experiment);
    return { name, source, at: this.#options.now(), who, configHash: configHash(experiment), definition };
  }

  async #write(
    stored: StoredDefinition,
    before: StoredDefinition | undefined,
    save: (entry: AuditEntry) => Promise<void>,
  ): Promise<void> {
    const { name, at, who, configHash: hash, definition } = stored;
    const diff = diffOf(before && parseJson(before.definition), parseJson(definition));
    const action = before ? 'changed' : 'created';
    await this.#saveAudited({ at, who, experiment: name, action, configHash: hash, diff }, save);
  }

  async #removeStored(store: ExperimentStore, before: StoredDefinition, who: string): Promise<void> {
    const { name, configHash: hash } = before;
    const diff = diffOf(parseJson(before.definition), undefined);
    const at = this.#options.now();
    await this.#saveAudited({ at, who, experiment: name, action: 'removed', configHash: hash, diff }, (entry) =>
      store.removeDefinition(name, entry),
    );
  }

  async #saveAudited(entry: AuditEntry, save: (entry: AuditEntry) => Promise<void>): Promise<void> {
    await save(entry);
    this.#options.observer.onChange?.(entry);
  }

  async #auditFile(store: ExperimentStore): Promise<void> {
    const file = this.#file;
    if (!file) return;
    const known = await store.definitions();
    for (const experiment of file.experiments) {
      const stored = this.#stored(experiment, 'file', file.who);
      const before = known.find(({ name }) => name === experiment.name);
      if (before?.configHash === stored.configHash && before.source === 'file') continue;
      await this.#write(stored, before, (entry) => store.putDefinition(stored, entry));
    }
    const names = new Set(file.experiments.map(({ name }) => name));
    for (const before of known)
      if (before.source === 'file' && !names.has(before.name)) await this.#removeStored(store, before, file.who);
  }

  async #readApi(store: ExperimentStore): Promise<void> {
    const api = (await store.definitions()).filter(({ source }) => source === 'api');
    const same = (a: readonly StoredDefinition[]) => a.map(({ name, configHash: hash }) => `${name} ${hash}`).join();
    if (same(api) === same(this.#api)) return;
    this.#api = api;
    this.#update();
  }

  #update(): void {
    const inFile = (this.#file?.experiments ?? []).map((experiment): Defined => ({ experiment, source: 'file' }));
    const names = new Set(inFile.map(({ experiment }) => experiment.name));
    const put = this.#api
      .map(parseStored)
      .filter((experiment): experiment is Experiment => experiment !== undefined && !names.has(experiment.name))
      .map((experiment): Defined => ({ experiment, source: 'api' }));
    this.#defined = [...inFile, ...put];
    this.#options.onChange(this.#defined);
  }
}
