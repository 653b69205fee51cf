/** `GET /v1/models`, as far as the console reads it. */
export interface ModelEntry {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly state: 'available' | 'loading' | 'ready' | 'draining' | 'refused' | 'unloaded';
  readonly reason?: string | undefined;
  readonly labels: readonly string[];
  readonly default: boolean;
  readonly variant?: string | undefined;
  readonly provider?: string | undefined;
  readonly max_length?: number | undefined;
  readonly objective?: string | undefined;
  readonly bytes?: number | undefined;
  readonly last_used?: number | undefined;
}

export interface ModelList {
  readonly data: readonly ModelEntry[];
}

/** What one may ask for: each model by its name, and every version that is not refused. */
export function referencesOf(models: readonly ModelEntry[]): readonly string[] {
  const usable = models.filter(({ state }) => state !== 'refused');
  return [...new Set(usable.map(({ name }) => name))].flatMap((name) => [
    name,
    ...usable.filter((entry) => entry.name === name).map(({ id }) => id),
  ]);
}

/** Versions of each model, in the order of the list. */
export function byModel(
  models: readonly ModelEntry[],
): readonly (readonly [name: string, versions: readonly ModelEntry[]])[] {
  return [...Map.groupBy(models, ({ name }) => name)];
}
