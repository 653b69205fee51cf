import type { Response } from 'express';
import type { Replicas } from './ports.ts';

/** Where a change is kept: models or passages in this process, the registry folder, or the database of experiments. */
type Place = 'memory' | 'passages' | 'folder' | 'database';

/** Returns whether other processes follow a change, and what an admin has to know if not all of them do at once. */
function followers(
  place: Place,
  { count, instance, watchesFolder, sharesExperiments }: Replicas,
): { readonly by: 'instance' | 'folder' | 'all'; readonly warning?: string } {
  if (place === 'database' && sharesExperiments) return { by: 'all' };
  if (place === 'folder' && watchesFolder)
    return {
      by: 'folder',
      warning: `of ${count} replicas ${instance} has followed; those that watch the same registry folder follow within seconds`,
    };
  const reasons: Readonly<Record<Place, string>> = {
    memory: 'models are loaded and unloaded by each process for itself; call each of them',
    passages: 'each keeps passages for itself; call each of them',
    folder: 'the others read the registry folder at their next start (registry.watch is false)',
    database: 'each has an experiment database of its own; set experiments.database to a postgres:// URL',
  };
  return { by: 'instance', warning: `only ${instance} of ${count} replicas has followed: ${reasons[place]}` };
}

/**
 * Says in the answer to a change which process made it and who follows: headers `x-winnow-instance` and `x-winnow-followed-by`. Does nothing where
 * one process serves alone.
 * @returns Warnings for the body; none if all processes follow.
 */
export function noteReplicas(res: Response, replicas: Replicas | undefined, place: Place): readonly string[] {
  if (replicas === undefined || replicas.count <= 1) return [];
  const { by, warning } = followers(place, replicas);
  res.setHeader('x-winnow-instance', replicas.instance);
  res.setHeader('x-winnow-followed-by', by);
  return warning === undefined ? [] : [warning];
}

/** Returns a field `warnings` for the body of an answer, or no field. */
export const warningsField = (warnings: readonly string[]): { readonly warnings?: string[] } =>
  warnings.length > 0 ? { warnings: [...warnings] } : {};
