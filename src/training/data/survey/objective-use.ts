import { WinnowError } from '../../../errors.ts';
import type { Needs } from '../../objectives/needs.ts';
import type { Sampler } from '../data-schema.ts';
import type { IdentifiedList } from '../list-types.ts';
import { samples } from '../sampler.ts';

/** Objectives with the same needs, for which the same lists are of use. */
export interface ObjectiveGroup {
  readonly names: readonly string[];
  readonly needs: Needs;
}

/** How much of the data a group of objectives can be trained on. */
export interface ObjectiveUse {
  readonly objectives: readonly string[];
  /** Passages of the lists that are trained on. */
  readonly passages: number;
  /** Lists that are not, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Counts, for each group of objectives, the lists and passages that its runs would train on. */
export class ObjectiveUses {
  readonly #sampler: Sampler;
  readonly #groups: readonly {
    readonly group: ObjectiveGroup;
    passages: number;
    readonly leftOut: Record<string, number>;
  }[];

  constructor(groups: readonly ObjectiveGroup[], sampler: Sampler) {
    this.#sampler = sampler;
    this.#groups = groups.map((group) => ({ group, passages: 0, leftOut: {} }));
  }

  add(list: IdentifiedList): void {
    for (const each of this.#groups) {
      const reason = this.#refusal(list, each.group.needs);
      if (reason === undefined) each.passages += list.passages.length;
      else each.leftOut[reason] = (each.leftOut[reason] ?? 0) + 1;
    }
  }

  /** Returns why a list is of no use; undefined where it is. */
  #refusal(list: IdentifiedList, needs: Needs): string | undefined {
    try {
      const sampled = samples(list, this.#sampler, 0, needs);
      return typeof sampled === 'string' ? sampled : undefined;
    } catch (error) {
      if (error instanceof WinnowError && error.code === 'invalid_input')
        return `refused: expected ${String(error.params.expected)}`;
      throw error;
    }
  }

  uses(): ObjectiveUse[] {
    return this.#groups.map(({ group, passages, leftOut }) => ({ objectives: group.names, passages, leftOut }));
  }
}
