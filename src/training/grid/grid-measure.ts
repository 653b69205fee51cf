import type { Tensor } from 'onnxruntime-node';
import { createSession } from '../../inference/providers.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { EncodedRow } from '../../tokenization/types.ts';
import { openValidation } from '../measure/validation.ts';
import { trainedModel } from '../publish/publish.ts';
import { pairOptions } from '../recipe/pair-options.ts';
import type { LoadedRecipe, Recipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { rowFeeds } from '../step/feeds.ts';
import { lengthBatches } from '../teachers/bi-encoder.ts';

const BATCH_TOKENS = 4096;

/** Values of the weights a run would publish, on sets the run never saw: `{benchmark: value}`. */
export async function measureCell(
  { recipe, folder }: LoadedRecipe,
  outcome: TrainingOutcome,
  benchmarks: Readonly<Record<string, NonNullable<Recipe['validation']>>>,
): Promise<Record<string, number>> {
  const { backbone } = outcome;
  const tokenizer = await createLocalTokenizer(backbone.folder);
  const session = await createSession(encodeModel(trainedModel(backbone, outcome)), {
    provider: recipe.provider,
    threads: recipe.threads,
  });
  const score = async (rows: readonly EncodedRow[]): Promise<Float32Array> => {
    const scores = new Float32Array(rows.length);
    for (const places of lengthBatches(
      rows.map((row) => row.ids.length),
      BATCH_TOKENS,
    )) {
      const batch = places.map((place) => rows[place]!);
      const results = await session.run(rowFeeds(batch, session.inputNames, tokenizer.padId));
      const found = (results[backbone.logits] as Tensor).data as Float32Array;
      places.forEach((place, i) => {
        scores[place] = found[i]!;
      });
    }
    return scores;
  };
  try {
    const values: Record<string, number> = {};
    for (const [name, settings] of Object.entries(benchmarks))
      values[name] = await (await openValidation(settings, folder, tokenizer, pairOptions(recipe))).value(score);
    return values;
  } finally {
    await session.release();
    await tokenizer.close();
  }
}
