import { existsSync } from 'node:fs';
import { WinnowError } from '../errors.ts';
import { parseJson } from '../util/parse-json.ts';
import { readText } from '../util/text.ts';
import { YAML_BYTES } from '../util/yaml-file.ts';
import { changeEffects } from './assignment/change-effects.ts';
import { checkExperiment, configHash, type Experiment, parseExperiments } from './definitions/definition.ts';
import { DEFAULT_DATABASE } from './experiment-options.ts';
import type { ExperimentStore, StoredDefinition } from './records.ts';
import { isPostgres, openStore } from './store/store.ts';

/** Experiments without a server, for commands: only file and database. */
export interface OfflineExperiments {
  readonly store: ExperimentStore;
  list(): readonly (Pick<StoredDefinition, 'source' | 'configHash'> & { readonly experiment: Experiment })[];
  /** @throws WinnowError `unknown_experiment`. */
  find(name: string): Experiment;
  close(): Promise<void>;
}

/**
 * Says what definitions of a file would do to the units that a database knows, one line an effect. A SQLite file that is not there has none.
 * @throws WinnowError `store_unavailable`.
 */
export async function effectsOnDatabase(
  experiments: readonly Experiment[],
  database: string,
): Promise<readonly string[]> {
  if (!isPostgres(database) && !existsSync(database)) return [];
  const offline = await openOffline({ database });
  try {
    const known = new Map(offline.list().map(({ experiment }) => [experiment.name, experiment]));
    return experiments.flatMap((after) => {
      const before = known.get(after.name);
      return before ? changeEffects(before, after).map((effect) => `${after.name}: ${effect}`) : [];
    });
  } finally {
    await offline.close();
  }
}

/** Reads a file of definitions. @throws WinnowError `invalid_experiments`, `invalid_input` where it cannot be read. */
export async function readExperiments(file: string): Promise<readonly Experiment[]> {
  return parseExperiments(await readText(file, YAML_BYTES), file);
}

/**
 * Opens the database of a server. It holds every definition that a server has used; a file, where given, replaces those that came from
 * one.
 * @throws WinnowError `store_unavailable`, `invalid_experiments`, `invalid_input`.
 */
export async function openOffline(options: {
  readonly file?: string | undefined;
  readonly database?: string | undefined;
}): Promise<OfflineExperiments> {
  const inFile = options.file === undefined ? undefined : await readExperiments(options.file);
  const store = await openStore(options.database || DEFAULT_DATABASE).catch((error: unknown) => {
    throw new WinnowError('store_unavailable', { reason: (error as Error).message }, { cause: error });
  });
  const stored = (await store.definitions()).map(({ source, name, definition }) => ({
    source,
    experiment: checkExperiment(parseJson(definition), `definition ${name}`),
  }));
  const known = [
    ...(inFile ?? []).map((experiment) => ({ source: 'file' as const, experiment })),
    ...stored.filter(({ experiment, source }) =>
      inFile ? source === 'api' && !inFile.some(({ name }) => name === experiment.name) : true,
    ),
  ].map((one) => ({ ...one, configHash: configHash(one.experiment) }));
  return {
    store,
    list: () => known,
    find(name) {
      const found = known.find(({ experiment }) => experiment.name === name);
      if (found) return found.experiment;
      const names = known.map(({ experiment }) => experiment.name).join(', ');
      throw new WinnowError('unknown_experiment', { known: names || 'no experiment yet', got: name });
    },
    close: () => store.close(),
  };
}
