import { z } from 'zod';

const layers = z.number().int().min(1);

/** A recipe's `interaction`. */
export const interactionSchema = z
  .strictObject({
    form: z
      .enum(['cosine', 'first'])
      .default('cosine')
      .describe(
        'cosine: starts as the cosine of a sentence encoder; the last layers of the query look at the passage through gates that are closed at first. first: the published form, whose first token is scored; it has to be trained long.',
      ),
    top: layers.default(3).describe('Layers in which the query looks at the passage.'),
    bottom: layers
      .optional()
      .describe('Form first: layers below the top, for query and passage; by default those that the top leaves.'),
    states: layers
      .optional()
      .describe('Form cosine: layers that a passage has passed when its states are taken; all by default.'),
    kept: z
      .enum(['int8', 'float16'])
      .default('int8')
      .describe('Number format of kept states, in training and when served: int8 with a scale a token, or float16.'),
    train: z
      .enum(['interaction', 'top'])
      .default('interaction')
      .describe(
        'What is trained. interaction: cross-attention, gates and head, at `optimizer.headLearningRate`; top: also the query’s own copy of the upper layers, at `optimizer.learningRate`.',
      ),
    scale: z.number().positive().default(20).describe('Form cosine: what the cosine is multiplied by at first.'),
    pooling: z
      .enum(['mean', 'cls'])
      .optional()
      .describe('Form cosine: vector of a text; by default that of the backbone’s modules, else mean.'),
    queryPrefix: z.string().optional().describe('Text before every query; by default that of the backbone.'),
    passagePrefix: z.string().optional().describe('Text before every passage; by default that of the backbone.'),
    passages: z
      .string()
      .optional()
      .describe(
        'Folder of the passages’ states, relative to the recipe, which runs of one encoder share; by default `passages` beside the run’s folder.',
      ),
  })
  .describe(
    'Train an interaction model: passages are read once, without the query, and the query’s tokens look at their kept states in a few upper layers. `maxLength` is then that of each text.',
  );

export type InteractionRecipe = z.infer<typeof interactionSchema>;
