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
  const stagesOf = (name: string): readonly string[] =>
    Object.hasOwn(cascades, name) ? cascades[name]!.map(({ model }) => model) : [];
  const named = preload.flatMap((name) => (Object.hasOwn(cascades, name) ? stagesOf(name) : name));
  return [...new Set([...(defaultModel === undefined ? [] : stagesOf(defaultModel)), ...named])];
}
