import { DEFAULT_LIMITS, type FolderLimits } from './folder-files.ts';
import { type Problem, readCatalog, type VersionOnDisk } from './registry-catalog.ts';
import type { Activation } from './registry-types.ts';
import { readVersionFolder } from './version-folder.ts';

/** One version of a registry folder, read from its files without the engine. */
export interface SurveyRow {
  readonly name: string;
  readonly version: string;
  readonly labels: readonly string[];
  readonly folder: string;
  /** Why its files could not be read; the fields below are then absent. */
  readonly fault?: string;
  readonly variants?: readonly string[];
  readonly maxLength?: number;
  readonly maxQueryTokens?: number | undefined;
  readonly activation?: Activation;
  readonly objective?: string | undefined;
  readonly bytes?: number;
  /** Whether the manifest has hashes. */
  readonly hashed?: boolean;
}

async function facts(disk: VersionOnDisk, limits: FolderLimits) {
  try {
    const version = await readVersionFolder(disk.folder, limits, disk.skip);
    return {
      variants: version.variants.map((v) => v.name),
      maxLength: version.maxLength,
      maxQueryTokens: version.manifest?.maxQueryTokens,
      activation: version.activation,
      objective: version.objective,
      bytes: version.bytes,
      hashed: version.manifest?.files !== undefined,
    };
  } catch (error) {
    return { fault: (error as Error).message };
  }
}

interface Survey {
  readonly rows: readonly SurveyRow[];
  /** Faults of the folder that are not those of a version. */
  readonly problems: readonly Problem[];
}

/** Returns every version of a registry folder, newest first within a model. @throws WinnowError `invalid_input` without a folder. */
export async function surveyRegistry(folder: string, limits: FolderLimits = DEFAULT_LIMITS): Promise<Survey> {
  const { models, problems } = await readCatalog(folder, limits);
  const rows: SurveyRow[] = [];
  for (const { name, versions, labels } of models)
    for (const disk of versions) {
      const pointing = [...(labels ?? [])].filter(([, version]) => version === disk.version).map(([label]) => label);
      rows.push({ name, version: disk.version, labels: pointing, folder: disk.folder, ...(await facts(disk, limits)) });
    }
  return { rows, problems };
}
