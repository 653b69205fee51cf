import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { mean } from '../../statistics/samples.ts';
import { repeated } from '../../util/repeated.ts';
import { setsInside } from '../formats/load-dataset.ts';
import type { SetSpec } from './suite-schema.ts';
import { pathIn } from './suite-set.ts';

/** Fields that name one file for one set: they would mean the same file for every part. */
function refuseShared({ name, firstStage, folds }: SetSpec, parts: readonly string[]): void {
  const shared =
    folds !== undefined
      ? 'folds'
      : typeof firstStage === 'object' && 'run' in firstStage
        ? 'firstStage.run'
        : typeof firstStage === 'object' && 'bm25' in firstStage && firstStage.bm25.index !== undefined
          ? 'firstStage.bm25.index'
          : undefined;
  if (shared === undefined) return;
  throw new WinnowError('invalid_input', {
    where: `set ${name}`,
    expected: `no ${shared} for a folder of ${parts.length} sets; list the sets one by one, with a \`group\``,
    got: shared,
  });
}

/** Returns the parts of a set whose path is a folder of several sets; a set of one part is itself. */
async function partsOf(spec: SetSpec, folder: string): Promise<SetSpec[]> {
  const path = pathIn(folder, spec.path);
  const parts = spec.corpus === undefined && existsSync(path) ? await setsInside(path) : [];
  if (parts.length < 2) return [spec];
  refuseShared(spec, parts);
  return parts.map((part) => ({
    ...spec,
    name: `${spec.name}-${part.replaceAll('/', '-')}`,
    path: join(spec.path, part),
    trainedAs: spec.trainedAs ?? [spec.name],
    partOf: spec.name,
  }));
}

/**
 * Replaces every set whose path is a folder of sets (CQADupStack's forums) by its parts.
 *
 * @param onNote called with a line for each such set.
 * @throws WinnowError `invalid_input` for a part whose name another set has, and for a field that only fits one set.
 */
export async function expandSets(
  specs: readonly SetSpec[],
  folder: string,
  onNote: (text: string) => void,
): Promise<SetSpec[]> {
  const expanded: SetSpec[] = [];
  for (const spec of specs) {
    const parts = await partsOf(spec, folder);
    if (parts.length > 1)
      onNote(`${spec.name}: ${parts.length} sets, measured as a group: ${parts.map((p) => p.name).join(', ')}`);
    expanded.push(...parts);
  }
  const twice = repeated(expanded.map(({ name }) => name));
  if (twice === undefined) return expanded;
  throw new WinnowError('invalid_input', { where: 'sets', expected: 'each name once', got: `${twice} twice` });
}

/** Sets that a mean counts as one: a set, or the parts of one. */
export type Unit<T> = readonly T[];

/** Gathers the parts of a set into one unit. */
export function unitsOf<T>(sets: readonly T[], specOf: (set: T) => SetSpec): Unit<T>[] {
  const units = Map.groupBy(sets, (set) => {
    const { name, partOf } = specOf(set);
    return partOf === undefined ? `set ${name}` : `parts ${partOf}`;
  });
  return [...units.values()];
}

/** Returns the units of each group by its name: those of sets with parts first, then those that `group` names. */
export function groupsOf<T>(sets: readonly T[], specOf: (set: T) => SetSpec): Map<string, Unit<T>[]> {
  const groups = new Map<string, Unit<T>[]>();
  const units = unitsOf(sets, specOf);
  for (const unit of units) {
    const { partOf } = specOf(unit[0]!);
    if (partOf !== undefined)
      groups.set(
        partOf,
        unit.map((set) => [set]),
      );
  }
  const named = Map.groupBy(units, (unit) => specOf(unit[0]!).group);
  for (const [group, members] of named) if (group !== undefined && !groups.has(group)) groups.set(group, members);
  return groups;
}

/** Averages over units, each the mean of its sets (macro average). */
export const unitMean = <T>(units: readonly Unit<T>[], value: (set: T) => number): number =>
  mean(units.map((unit) => mean(unit.map(value))));
