import { z } from 'zod';
import { spelled } from '../../util/spelling.ts';
import { dataSchema } from '../data/data-schema.ts';
import { objectiveSpecSchema } from '../objectives/catalog.ts';
import { interactionSchema } from './interaction-schema.ts';
import { loraSchema, optimizerSchema, scheduleSchema } from './optimizer-schema.ts';
import { PRESETS } from './presets.ts';
import { ownValidationSchema } from './validation-schema.ts';
import { TABLE_PLACES } from './variant-names.ts';

/* The fields of a recipe with their defaults, which are stated here and nowhere else; a preset replaces defaults for what the recipe leaves out. */

const count = (min: number) => z.number().int().min(min);
const rate = z.number().min(0).max(1);

const headSchema = z
  .strictObject({
    pooling: z.enum(['cls', 'last', 'mean', 'pair']).default('cls'),
    hidden: z.boolean().default(true).describe('Add a dense layer with tanh before the last one (the pooler of BERT).'),
    apart: z.boolean().optional().describe('Pooling pair: read the two texts apart until training opens gates.'),
    scale: z
      .number()
      .positive()
      .optional()
      .describe('Pooling pair: what the cosine is multiplied by at first; 10 by default.'),
    nearest: rate
      .optional()
      .describe(
        'Pooling pair: adds the mean cosine between each token of the query and the nearest of the passage, with this share of the first score.',
      ),
  })
  .refine(({ pooling, nearest }) => nearest === undefined || pooling === 'pair', {
    path: ['nearest'],
    message: 'only pooling pair compares tokens: set pooling to pair or leave nearest out',
  })
  .refine(({ pooling, scale }) => scale === undefined || pooling === 'pair', {
    path: ['scale'],
    message: 'only pooling pair starts at a cosine: set pooling to pair or leave scale out',
  })
  .refine(({ pooling, apart }) => !apart || pooling === 'pair', {
    path: ['apart'],
    message: 'only pooling pair reads texts apart: set pooling to pair or apart to false',
  });

const dropoutSchema = z.union([
  z.literal('config'),
  z.literal('off'),
  z.strictObject({ hidden: rate, attention: rate, classifier: rate }),
]);

const guardsSchema = z.strictObject({
  collapseStd: z
    .number()
    .min(0)
    .default(1e-3)
    .describe('Collapse: the standard deviation of a batch’s scores is below this.'),
  stuckTolerance: z
    .number()
    .min(0)
    .default(1e-3)
    .describe('Stuck: the relative difference of the loss to that of equal scores is at most this.'),
  window: count(1).default(50).describe('Consecutive steps until a guard acts.'),
  action: z.enum(['stop', 'warn']).default('stop').describe('Whether a guard stops the run or warns.'),
});

const publishSchema = z.strictObject({
  registry: z.string().default('models').describe('Registry folder, relative to the recipe.'),
  name: z.string().optional().describe('Name of the model; the recipe’s name by default.'),
  label: z.string().optional().describe('Label to set on the new version, such as `stable`.'),
  int8: z
    .boolean()
    .default(false)
    .describe('Also publish an int8 file, whose scores do not depend on co-batched rows.'),
  fp16: z.boolean().default(false).describe('Also publish a float16 file, for GPUs.'),
  fp32: z.boolean().default(true).describe('Publish the float32 file.'),
  formats: z
    .array(z.enum(['onnx', 'safetensors']))
    .refine((formats) => formats.includes('onnx'), 'expected onnx among them, which Winnow serves')
    .default(['onnx'])
    .describe(
      'File formats. safetensors: also model.safetensors with what transformers and `CrossEncoder(folder)` read, in PyTorch’s names.',
    ),
  maxLength: count(8).optional().describe('Most tokens of a pair when served; as in training by default.'),
  tables: z
    .enum(TABLE_PLACES)
    .default('inside')
    .describe(
      'Where word embeddings are stored. beside: in a file of their own, with the same bytes for all models that froze them, so that storage that deduplicates by content holds it once.',
    ),
  licence: spelled(z.string().optional().describe('License of the model; by default those of backbone and data.'), {
    key: 'license',
  }),
});

export const settingsSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i)
    .describe('Name of the run folder and, by default, of the model.'),
  preset: z
    .enum(Object.keys(PRESETS) as [string, ...string[]])
    .optional()
    .describe('Settings that replace the defaults below.'),
  backbone: z
    .string()
    .describe(
      'Folder with an ONNX export, model.safetensors or pytorch_model.bin, config.json and tokenizer; or a model of the hub, `organization/model` or `organization/model@revision`, where no such folder exists.',
    ),
  head: z
    .union([z.literal('auto'), headSchema])
    .default('auto')
    .describe(
      'Head of the model. auto: the export’s own, else CLS with a dense layer; of a decoder the last token without one. { pooling: cls, last, mean or pair, hidden, apart, scale, nearest }: pair compares the mean states of query and passage, near a sentence encoder’s cosine, which is multiplied by scale (10) at first; with apart: true each text is read as it is alone, which starts at the cosine exactly, and gates that let the texts read each other open in training.',
    ),
  interaction: interactionSchema.optional(),
  objective: objectiveSpecSchema.describe('Name, name with options, or a weighted sum: see objectives.md.'),
  data: dataSchema,
  validation: ownValidationSchema.optional(),
  maxLength: count(8).default(192).describe('Most tokens of a pair, special ones included; passages are cut first.'),
  maxQueryTokens: count(1)
    .optional()
    .describe('Most tokens of a query, also when served; by default as many as the pair has room for.'),
  batch: z
    .strictObject({
      queries: count(1).default(4).describe('Lists of a micro-batch.'),
      accumulate: count(1).default(1).describe('Micro-batches of a step, whose gradients are averaged.'),
      bucketBatches: count(1)
        .default(16)
        .describe('Micro-batches formed together from lists of like length; 1 keeps the order of the data.'),
    })
    .prefault({}),
  steps: count(1).default(1000).describe('Optimizer steps.'),
  epochs: z
    .number()
    .positive()
    .optional()
    .describe('Passes over the lists of the data, in place of `steps`; the lists are counted first.'),
  optimizer: optimizerSchema.prefault({}),
  schedule: scheduleSchema.prefault({}),
  lora: loraSchema.optional(),
  ema: rate
    .default(0)
    .describe('Decay of a moving average of the weights, which is published in their place; 0: none.'),
  average: rate
    .default(0)
    .describe(
      'Share of the untrained weights in what is measured and published: 0.5 is half-way between start and end; 0: none.',
    ),
  centered: z
    .boolean()
    .optional()
    .describe(
      'Places score 0 between relevant and other passages before the first step, by the bias of the last layer and 32 lists. For objectives that read scores one by one, such as BCE, with a head or start whose scores lie elsewhere.',
    ),
  dropout: dropoutSchema.default('config').describe('Dropout rates. config: those of the backbone’s config.json.'),
  freeze: z
    .array(z.string())
    .default([])
    .describe('Parts of names of weights that are not trained; `*` stands for any text.'),
  seed: count(0).default(42).describe('Seed of data order, sampling, dropout and a new head.'),
  precision: z
    .enum(['fp32', 'bf16', 'fp16'])
    .default('fp32')
    .describe('Precision of matrix products. bf16 and fp16 (with loss scaling) need a GPU.'),
  provider: z.enum(['cpu', 'cuda', 'webgpu']).default('cpu').describe('Execution provider of the engine.'),
  threads: count(0).default(0).describe('Threads of the engine and the optimizer; 0: all that the process may use.'),
  stepsPerRun: count(1)
    .default(1)
    .describe('Optimizer steps inside one run of the engine (Loop); more than 1 is faster on a GPU.'),
  checkpoint: z
    .strictObject({
      every: count(1).default(100).describe('Steps between checkpoints.'),
      keep: count(1).default(2).describe('Number of checkpoints to keep.'),
    })
    .prefault({}),
  guards: guardsSchema.prefault({}),
  falseNegatives: count(0)
    .default(5000)
    .describe(
      'Pairs of the training lists that are scored at the end, to find negatives above their positive, in whole lists where they fit; 0: none.',
    ),
  publish: publishSchema.optional(),
});

export type Settings = z.infer<typeof settingsSchema>;
