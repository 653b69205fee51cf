import type { EncodedRow, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { openPassageStates, passagesFolder } from '../interaction/passage-states.ts';
import { recipeTokenizer } from '../interaction/tokenizer.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { apartFeeds } from '../step/apart-feeds.ts';
import { withWeights } from '../step/backbone.ts';
import { openRowScorer, type RowScorer } from '../step/row-scorer.ts';

/** Lets `work` score rows with the weights that a run would publish, and releases tokenizer and session. */
export async function withOutcome<T>(
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
  work: (tokenizer: PairTokenizer, scorer: RowScorer) => Promise<T>,
): Promise<T> {
  const { backbone } = outcome;
  const { recipe } = loaded;
  const settings = { provider: recipe.provider, threads: recipe.threads };
  const tokenizer = await recipeTokenizer(backbone.folder, recipe);
  const { padId } = tokenizer;
  const passages =
    backbone.interaction &&
    (await openPassageStates(backbone.interaction, passagesFolder(loaded, outcome.runFolder), padId, settings));
  const feeds = passages && { feeds: (rows: readonly EncodedRow[]) => apartFeeds(rows, passages, padId) };
  const model = withWeights(backbone.model, outcome.weights);
  const scorer = await openRowScorer(model, { padId, output: backbone.logits, ...feeds }, settings);
  try {
    return await work(tokenizer, scorer);
  } finally {
    await scorer.close();
    await passages?.close();
    await tokenizer.close();
  }
}
