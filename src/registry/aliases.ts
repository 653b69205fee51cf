import { parseReference } from './model-names.ts';
import type { Problem } from './registry-catalog.ts';

/** Alias for every name that is neither a model nor an alias of its own. */
const OTHERS = '*';

/** An alias that has no effect or means no model; for the log. */
export interface AliasProblem {
  readonly alias: string;
  readonly reason: string;
}

/** Names of cascades, each with the models of its stages. */
export type Cascades = Readonly<Record<string, readonly { readonly model: string }[]>>;

/** Returns the model that each cascade ends with, by the cascade's name. */
export const lastStages = (cascades: Cascades = {}): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(cascades).map(([name, stages]) => [name, stages.at(-1)!.model]));

/** Returns the stages whose model is not there. @param at what stands before a cascade's name in the place of a stage. */
export function missingStages(cascades: Cascades, isModel: (name: string) => boolean, at: string): readonly Problem[] {
  return Object.entries(cascades).flatMap(([name, stages]) =>
    stages.flatMap(({ model }, i) => {
      const isThere = isModel(parseReference(model)!.name);
      return isThere
        ? []
        : [{ where: `${at}${name}.${i}.model`, reason: `expected a model of the registry, got ${model}` }];
    }),
  );
}

/** Returns the names of aliases and cascades that have no effect or mean a model that is not there, with their settings. */
export function nameProblems(
  aliases: Aliases,
  cascades: Cascades = {},
  isModel: (name: string) => boolean,
): readonly Problem[] {
  const names = aliases.problems(isModel).map(({ alias, reason }) => {
    const setting = Object.hasOwn(cascades, alias) ? 'cascades' : 'aliases';
    return { where: `registry.${setting}.${alias}`, reason };
  });
  // The last stage is what the name means, so that it is among the names.
  const earlier = Object.fromEntries(Object.entries(cascades).map(([name, stages]) => [name, stages.slice(0, -1)]));
  return [...names, ...missingStages(earlier, isModel, 'registry.cascades.')];
}

/** Further names of models, as clients write them, with slashes or tags for example. A model's own name is never an alias. */
export class Aliases {
  readonly #targets: ReadonlyMap<string, string>;

  /** @param targets name of a client → `model`, `model@version` or `model:label` */
  constructor(targets: Readonly<Record<string, string>> = {}) {
    this.#targets = new Map(Object.entries(targets));
  }

  /** Returns the reference that a client's name means; the name itself where it is no alias. */
  canonical(reference: string, isModel: (name: string) => boolean): string {
    if (isModel(reference)) return reference;
    const target = this.#targets.get(reference);
    if (target !== undefined) return target;
    const name = parseReference(reference)?.name;
    return name !== undefined && isModel(name) ? reference : (this.#targets.get(OTHERS) ?? reference);
  }

  /** Returns every alias with a name, and its reference. */
  named(): readonly (readonly [alias: string, reference: string])[] {
    return [...this.#targets].filter(([alias]) => alias !== OTHERS);
  }

  problems(isModel: (name: string) => boolean): readonly AliasProblem[] {
    return [...this.#targets].flatMap(([alias, reference]) => {
      const target = parseReference(reference)!.name;
      if (!isModel(target)) return [{ alias, reason: `expected a model of the registry, got ${reference}` }];
      if (isModel(alias))
        return [{ alias, reason: 'expected a name that no model has, got that of a model, which has no effect' }];
      return [];
    });
  }
}
