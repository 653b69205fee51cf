import type { ModelEntry } from '../../http/routes/schemas.ts';

/** Returns the references offered in the playground: each model by its name, and every version that is not refused. */
export function referencesOf(models: readonly ModelEntry[]): readonly string[] {
  const usable = models.filter(({ state, kind }) => kind === 'version' && state !== 'refused');
  return [...new Set(usable.map(({ name }) => name))].flatMap((name) => [
    name,
    ...usable.filter((entry) => entry.name === name).map(({ id }) => id),
  ]);
}

/** Groups versions by model, in the order of the list. */
export function byModel(
  models: readonly ModelEntry[],
): readonly (readonly [name: string, versions: readonly ModelEntry[]])[] {
  return [
    ...Map.groupBy(
      models.filter(({ kind }) => kind === 'version'),
      ({ name }) => name,
    ),
  ];
}
