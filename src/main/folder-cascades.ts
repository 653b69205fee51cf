import { parseCascades } from '../config/cascade-settings.ts';
import type { Config } from '../config/config-schema.ts';
import { missingStages } from '../registry/aliases.ts';
import { CASCADES_FILE, readCascadesFile } from '../registry/labels.ts';
import type { Problem } from '../registry/registry-catalog.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Reads the cascades that a registry folder names; none without its file. @throws WinnowError `invalid_manifest`. */
export async function readFolderCascades(folder: string): Promise<Config['registry']['cascades']> {
  const document = await readCascadesFile(folder);
  return document ? parseCascades(document, CASCADES_FILE) : {};
}

/**
 * Returns the cascades that a registry folder names, with what is wrong with them: a file that cannot be read, stages whose model is not there.
 * @param models names of the folder's models.
 */
export async function surveyCascades(
  folder: string,
  models: ReadonlySet<string>,
): Promise<{ readonly cascades: Config['registry']['cascades']; readonly problems: readonly Problem[] }> {
  try {
    const cascades = await readFolderCascades(folder);
    return { cascades, problems: missingStages(cascades, (name) => models.has(name), `${CASCADES_FILE}: `) };
  } catch (error) {
    return { cascades: {}, problems: [{ where: CASCADES_FILE, reason: (error as Error).message }] };
  }
}

/**
 * Returns settings that have the cascades of the registry folder's `cascades.json` too. A name that the settings give, to a cascade or as an alias,
 * keeps its meaning there, and the log says so.
 * @throws WinnowError `invalid_manifest`.
 */
export async function withFolderCascades(config: Config, logger: Pick<Logger, 'warn'>): Promise<Config> {
  const { registry } = config;
  const { folder, aliases, cascades } = registry;
  const found = Object.entries(await readFolderCascades(folder));
  const isSet = (name: string): boolean => Object.hasOwn(cascades, name) || Object.hasOwn(aliases, name);
  for (const [name] of found.filter(([one]) => isSet(one))) {
    const setting = Object.hasOwn(cascades, name) ? 'registry.cascades' : 'registry.aliases';
    logger.warn({ where: `${folder}/${CASCADES_FILE}`, name }, `has no effect: ${setting} gives the name a meaning`);
  }
  const own = Object.fromEntries(found.filter(([name]) => !isSet(name)));
  return Object.keys(own).length === 0
    ? config
    : { ...config, registry: { ...registry, cascades: { ...own, ...cascades } } };
}
