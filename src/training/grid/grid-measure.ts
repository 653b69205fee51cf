import { pairsWithin } from '../../registry/pair-limits.ts';
import { openValidation, type ValidationSettings } from '../measure/validation.ts';
import { withOutcome } from '../publish/outcome-scorer.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';

/** Measures the weights that a run would publish on benchmarks. Returns the value of each. */
export function measureCell(
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
  benchmarks: Readonly<Record<string, ValidationSettings>>,
): Promise<Record<string, number>> {
  return withOutcome(loaded, outcome, async (tokenizer, scorer) => {
    const values: Record<string, number> = {};
    for (const [name, settings] of Object.entries(benchmarks)) {
      const validation = await openValidation(settings, loaded.folder, tokenizer, pairsWithin(loaded.recipe));
      values[name] = await validation.value(scorer.score);
    }
    return values;
  });
}
