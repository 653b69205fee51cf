import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { openRowScorer, type RowScorer } from '../step/row-scorer.ts';
import { trainedModel } from './publish.ts';

/** Lets `work` score rows with the weights that a run would publish, and releases tokenizer and session. */
export async function withOutcome<T>(
  { recipe }: LoadedRecipe,
  outcome: TrainingOutcome,
  work: (tokenizer: PairTokenizer, scorer: RowScorer) => Promise<T>,
): Promise<T> {
  const { backbone } = outcome;
  const tokenizer = await createLocalTokenizer(backbone.folder);
  const scorer = await openRowScorer(
    trainedModel(backbone, outcome),
    { padId: tokenizer.padId, output: backbone.logits },
    { provider: recipe.provider, threads: recipe.threads },
  );
  try {
    return await work(tokenizer, scorer);
  } finally {
    await scorer.close();
    await tokenizer.close();
  }
}
