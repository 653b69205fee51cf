import { COPIED, NAMES } from '../../onnx/interaction/names.ts';
import { prepare } from '../../onnx/prepare.ts';
import { matches } from '../../onnx/weights.ts';
import { openInteraction } from '../interaction/encoder.ts';
import type { InteractionRecipe } from '../recipe/interaction-schema.ts';
import type { Recipe } from '../recipe/recipe.ts';

/** The value that holds the scores. */
export const LOGITS = 'logits';

type Settings = Pick<Recipe, 'seed' | 'freeze'> & Partial<Pick<Recipe, 'optimizer'>>;

/**
 * Reads an encoder's folder as an interaction model to be trained. New weights are in group `head`; the encoder's own are frozen, but for the
 * query's copy of the upper layers with `train: top`.
 * @throws WinnowError `invalid_input` for an encoder that no such model can be made of.
 */
export async function loadInteraction(
  folder: string,
  recipe: InteractionRecipe,
  { seed, freeze, optimizer }: Settings,
) {
  const interaction = await openInteraction(folder, recipe, seed);
  const { model, weights } = await prepare(interaction.top, { output: LOGITS, include: [NAMES.prefix] });
  const rates = optimizer?.rates ?? [];
  return {
    model,
    interaction,
    weights: weights.map(({ tensor, name, decay }) => {
      const isNew = name.startsWith(NAMES.prefix) && !COPIED.test(name);
      const isTrained = isNew || (recipe.train === 'top' && COPIED.test(name));
      return {
        name: tensor,
        parameter: name,
        value: model.graph.initializers.get(tensor)!,
        decays: decay,
        group: isNew ? ('head' as const) : ('backbone' as const),
        rate: rates.find(({ match }) => matches([match], tensor, name))?.factor,
        frozen: !isTrained || matches(freeze, tensor, name),
      };
    }),
  };
}
