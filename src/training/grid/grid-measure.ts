import { pairsWithin } from '../../registry/pair-limits.ts';
import { openValidation, type ValidationSettings } from '../measure/validation.ts';
import { withOutcome } from '../publish/outcome-scorer.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';

/** Values of a model on benchmarks, by name. */
interface Measured {
  readonly benchmarks: Readonly<Record<string, number>>;
  /** The values of single queries, rounded to six digits. */
  readonly perQuery: Readonly<Record<string, readonly number[]>>;
}

const rounded = (value: number): number => Number(value.toFixed(6));

/** Receives how many of a benchmark's pairs are scored, after each batch. */
export type OnBenchmark = (benchmark: string, done: number, pairs: number) => void;

/** Measures the weights that a run would publish on benchmarks. */
export function measureCell(
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
  settings: Readonly<Record<string, ValidationSettings>>,
  onBenchmark?: OnBenchmark,
): Promise<Measured> {
  return withOutcome(loaded, outcome, async (tokenizer, scorer) => {
    const benchmarks: Record<string, number> = {};
    const perQuery: Record<string, number[]> = {};
    for (const [name, one] of Object.entries(settings)) {
      const validation = await openValidation(one, loaded.folder, tokenizer, pairsWithin(loaded.recipe));
      const { rows } = validation;
      const scores = await scorer.score(rows, undefined, (done) => onBenchmark?.(name, done, rows.length));
      const lists = validation.queriesOf(scores);
      benchmarks[name] = validation.measured(lists);
      perQuery[name] = Array.from(validation.perQuery(lists), rounded);
    }
    return { benchmarks, perQuery };
  });
}
