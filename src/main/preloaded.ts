import type { Config } from '../config/config-schema.ts';

/**
 * Returns the models that are loaded at start beside the default one: those of `registry.preload`, the stages of cascades among them, and the stages
 * of a default that is a cascade.
 */
export function preloadedModels({
  registry: { preload, cascades, defaultModel },
}: {
  readonly registry: Pick<Config['registry'], 'preload' | 'cascades' | 'defaultModel'>;
}): readonly string[] {
  const isCascade = (name: string | undefined): name is string => name !== undefined && Object.hasOwn(cascades, name);
  const modelsOf = (name: string): readonly string[] =>
    isCascade(name) ? cascades[name]!.map(({ model }) => model) : [name];
  return [...new Set([...(isCascade(defaultModel) ? modelsOf(defaultModel) : []), ...preload.flatMap(modelsOf)])];
}
