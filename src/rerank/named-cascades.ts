import type { CascadeStage } from './rerank-types.ts';

/** Stages of cascades by the names that stand for them where a model is named (`registry.cascades`). */
export type NamedCascades = Readonly<Record<string, readonly CascadeStage[]>>;

/**
 * Returns the stages of the cascade that a name means.
 * @param own what the registry takes the name for: the name itself where it is that of a model, which comes first.
 */
export const cascadeNamed = (
  cascades: NamedCascades | undefined,
  asked: string,
  own: string,
): readonly CascadeStage[] | undefined =>
  cascades && own !== asked && Object.hasOwn(cascades, asked) ? cascades[asked] : undefined;
