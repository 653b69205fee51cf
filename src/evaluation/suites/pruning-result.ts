import type { CellFacts } from './cells.ts';
import type { PruneSpec } from './suite-models.ts';
import type { ScoringSystem } from './suite-work.ts';

/** What pruning saved of the lists of a set. */
export interface PruningResult extends PruneSpec {
  readonly passages: number;
  /** Part of the passages that were left out. */
  readonly left: number;
  /** How many times fewer tokens were run; a token of an early score counts as the part of the model that it runs through. */
  readonly fewer: number;
  /** The same model and file on whole lists, if the suite has it. */
  readonly whole: string | undefined;
}

/** Returns what pruning saved of the cell of a system. */
export function pruningResult(
  system: ScoringSystem,
  facts: CellFacts,
  all: readonly ScoringSystem[],
): PruningResult | undefined {
  const { prune, model, reference, variant } = system;
  const { pruned, tokens = 0, pairs = 0 } = facts;
  if (!prune || !pruned) return undefined;
  const run = tokens + (model.pruning?.share ?? 0) * pruned.earlyTokens;
  const whole = all.find((s) => !s.prune && !s.hidden && s.reference === reference && s.variant === variant);
  return {
    ...prune,
    passages: pruned.passages,
    left: pruned.passages / Math.max(1, pairs),
    fewer: (tokens + pruned.tokens) / Math.max(1, run),
    whole: whole?.name,
  };
}
