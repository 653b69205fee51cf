import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { COPIED } from '../../onnx/interaction/names.ts';
import { writeInteraction } from '../../onnx/interaction/write-interaction.ts';
import { readModel } from '../../onnx/model-file.ts';
import { writeSafetensors } from '../../onnx/safetensors.ts';
import { castTensor, float32, type Tensor, transposeTensor } from '../../onnx/tensor.ts';
import { temporaryFolder } from '../../util/files.ts';
import type { InteractionEncoder } from '../interaction/encoder.ts';
import { openPassageStates } from '../interaction/passage-states.ts';
import { recipeTokenizer } from '../interaction/tokenizer.ts';
import { selfTestPairs } from '../measure/self-test.ts';
import { type LoadedRecipe, servedLength } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { apartFeeds } from '../step/apart-feeds.ts';
import { openRowScorer } from '../step/row-scorer.ts';
import { withOutcome } from './outcome-scorer.ts';
import { writeJson } from './torch-folder.ts';

/*
 * The folder of an interaction model: config.json with its settings, the weights in PyTorch's layout, and both graphs, which are made of them.
 */

const WEIGHTS = 'model.safetensors';
const METADATA = { format: 'pt' };

/** Layers of the encoder that neither passages nor queries read: those above the top, and those that the query has copies of. */
function isUnused({ settings, layers }: InteractionEncoder, hasCopies: boolean): (name: string) => boolean {
  if (settings.form === 'cosine') return () => false;
  const above = layers.slice(hasCopies ? settings.bottom : settings.bottom + settings.top);
  return (name) => above.some((at) => name.startsWith(at));
}

/** Returns the weights of a trained model in PyTorch's layout. Copies of layers that were not trained are left to the encoder's own. */
function publishedWeights(
  interaction: InteractionEncoder,
  { backbone, weights }: TrainingOutcome,
): Map<string, Tensor> {
  const trained = new Map(backbone.weights.flatMap((w) => (weights.has(w.name) ? [[w.parameter, w] as const] : [])));
  const hasCopies = [...trained.keys()].some((name) => COPIED.test(name));
  const unused = isUnused(interaction, hasCopies);
  const all = new Map<string, Tensor>();
  for (const [name, value] of interaction.weights) {
    if (unused(name) || (COPIED.test(name) && !hasCopies)) continue;
    const own = trained.get(name);
    if (!own) all.set(name, castTensor(value, 'float32'));
    else {
      const moved = float32(own.value.dims, weights.get(own.name)!);
      // Matrices of the graph are [in, out]; tables are not trained.
      all.set(name, moved.dims.length === 2 ? transposeTensor(moved) : moved);
    }
  }
  return all;
}

/** Writes config.json, weights and both graphs of a trained interaction model. Returns the paths of weights. */
export async function writeInteractionFolder(
  folder: string,
  interaction: InteractionEncoder,
  outcome: TrainingOutcome,
): Promise<readonly string[]> {
  await writeJson(join(folder, 'config.json'), { ...interaction.config });
  await writeSafetensors(join(folder, WEIGHTS), publishedWeights(interaction, outcome), METADATA);
  await writeInteraction(folder, folder, interaction.kept);
  return [WEIGHTS];
}

/** Largest difference of scores between the trained graph and the files, of the largest score: both fold the same products in other orders. */
const TOLERANCE = 1e-4;

/**
 * Scores the self-test pairs one by one with the files of a folder, and compares them with the trained model's scores.
 * @throws WinnowError `invalid_graph` where they differ by more than rounding.
 */
export async function interactionScores(
  folder: string,
  interaction: InteractionEncoder,
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
): Promise<number[]> {
  const tokenizer = await recipeTokenizer(outcome.backbone.folder, loaded.recipe);
  await using temporary = await temporaryFolder('states');
  const { padId } = tokenizer;
  const passage = await readModel(join(folder, 'onnx', 'passage.onnx'));
  const served = { ...interaction, passage };
  const states = await openPassageStates(served, temporary.path, padId, { threads: 1 }, 'as kept');
  const scorer = await openRowScorer(
    join(folder, 'onnx', 'top.onnx'),
    { padId, output: 'logits', feeds: (rows, inputs) => apartFeeds(rows, states, padId, inputs) },
    { threads: 1 },
  );
  try {
    const { recipe } = loaded;
    const rows = await selfTestPairs(tokenizer, { ...recipe, maxLength: servedLength(recipe) });
    const scores = Array.from(await scorer.score(rows, { rows: 1 }));
    const wanted = await withOutcome(loaded, outcome, async (_, trained) => trained.score(rows, { rows: 1 }));
    const largest = Math.max(1, ...wanted.map(Math.abs));
    if (!scores.every((score, i) => Math.abs(score - wanted[i]!) <= TOLERANCE * largest))
      throw new WinnowError('invalid_graph', {
        where: folder,
        expected: `the trained model's scores (${Array.from(wanted).join(', ')})`,
        got: scores.join(', '),
      });
    return scores;
  } finally {
    await scorer.close();
    await states.close();
    await tokenizer.close();
  }
}
