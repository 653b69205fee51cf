import { float32View } from '../../onnx/tensor.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { findShift } from '../run/zero-point.ts';
import { withWeights } from '../step/backbone.ts';

/**
 * Shifts the last bias of an outcome, where the objective leaves it undetermined, the model has one, and the training data has relevant
 * passages. The order of passages does not change.
 */
export async function withZeroPoint(loaded: LoadedRecipe, outcome: TrainingOutcome): Promise<TrainingOutcome> {
  const { backbone, weights } = outcome;
  // The score is the cosine's, or its passages are read apart.
  if (backbone.interaction || createObjective(loaded.recipe.objective).anchored) return outcome;
  const { folder, logits } = backbone;
  const tokenizer = await createLocalTokenizer(folder);
  const ranker = { model: withWeights(backbone.model, weights), logits, tokenizer };
  const shift = await findShift(loaded, ranker).finally(() => tokenizer.close());
  if (!shift) return outcome;
  const [own] = weights.get(shift.bias) ?? float32View(backbone.model.graph.initializers.get(shift.bias)!);
  return { ...outcome, weights: new Map([...weights, [shift.bias, Float32Array.of(own! + shift.by)]]) };
}
