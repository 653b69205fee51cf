import { encodeModel } from '../../onnx/protobuf-write.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import { openValidation, type ValidationSettings } from '../measure/validation.ts';
import { trainedModel } from '../publish/publish.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { openRowScorer } from '../step/row-scorer.ts';

/** Measures the weights that a run would publish on benchmarks. Returns the value of each. */
export async function measureCell(
  { recipe, folder }: LoadedRecipe,
  outcome: TrainingOutcome,
  benchmarks: Readonly<Record<string, ValidationSettings>>,
): Promise<Record<string, number>> {
  const { backbone } = outcome;
  const tokenizer = await createLocalTokenizer(backbone.folder);
  const scorer = await openRowScorer(
    encodeModel(trainedModel(backbone, outcome)),
    { padId: tokenizer.padId, output: backbone.logits },
    { provider: recipe.provider, threads: recipe.threads },
  );
  try {
    const values: Record<string, number> = {};
    for (const [name, settings] of Object.entries(benchmarks))
      values[name] = await (await openValidation(settings, folder, tokenizer, pairsWithin(recipe))).value(scorer.score);
    return values;
  } finally {
    await scorer.close();
    await tokenizer.close();
  }
}
