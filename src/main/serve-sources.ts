import type { Config } from '../config/config-schema.ts';
import { DEFAULT_LIMITS } from '../registry/folder-files.ts';
import { ensureModel, type SourceModel, type SourceOptions, type WithDeps } from '../registry/model-source.ts';
import { sideStatement } from '../registry/weights-folder.ts';
import type { Logger } from '../telemetry/logger.ts';
import { checkWeights, withSharedTools } from './admission-tools.ts';

/** Makes the models of `registry.sources` part of the registry folder, one after another. */
async function ensureAll(
  { registry }: Config,
  options: SourceOptions,
  withDeps: WithDeps,
  logger: Pick<Logger, 'info' | 'warn'>,
): Promise<readonly SourceModel[]> {
  const { folder, sources } = registry;
  const models: SourceModel[] = [];
  for (const source of sources) {
    const model = await ensureModel(source, folder, withDeps, options);
    const { name, isNew, warnings } = model;
    for (const warning of warnings) logger.warn({ model: name, source }, warning);
    logger.info({ model: name, source, registry: folder }, isNew ? 'imported' : 'imported before');
    models.push(model);
  }
  return models;
}

/**
 * Imports the models that `registry.sources` names, as far as they are not in the registry, and returns settings with their names: each is
 * an alias, unless the settings give that name to another model, and the first one is the default model unless they name one.
 * @throws WinnowError of finding, loading and admission.
 */
export async function withSources(
  config: Config,
  program: string,
  logger: Pick<Logger, 'info' | 'warn'>,
): Promise<Config> {
  const { registry } = config;
  if (registry.sources.length === 0) return config;
  const { biEncoder, pooling, queryPrefix, passagePrefix } = registry;
  const options: SourceOptions = {
    env: process.env,
    program,
    sides: sideStatement({ biEncoder, pooling, queryPrefix, passagePrefix }),
    variant: registry.variant,
    maxBytes: registry.maxModelBytes,
    limits: { ...DEFAULT_LIMITS, maxBytes: registry.maxModelBytes },
    warn: (line) => logger.warn(line),
    checkWeights,
  };
  const { provider } = config.inference;
  const models = await withSharedTools({ provider, variant: registry.variant }, (withDeps) =>
    ensureAll(config, options, withDeps, logger),
  );
  // The first source that has a name keeps it.
  const named = models.toReversed().flatMap(({ name, aliases }) => aliases.map((alias) => [alias, name] as const));
  return {
    ...config,
    registry: {
      ...registry,
      aliases: { ...Object.fromEntries(named), ...registry.aliases },
      defaultModel: registry.defaultModel ?? models[0]!.name,
      preload: [...new Set([...models.map(({ name }) => name), ...registry.preload])],
    },
  };
}
