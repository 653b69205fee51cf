import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { describeIssues, faultList } from '../../util/schema-issues.ts';
import { readSpelling, spelled, warnOfOld } from '../../util/spelling.ts';
import { readYamlFile } from '../../util/yaml-file.ts';
import { dataSchema } from '../data/data-schema.ts';
import { objectiveSpecSchema } from '../objectives/catalog.ts';
import { loraSchema, optimizerSchema, scheduleSchema } from './optimizer-schema.ts';
import { PRESETS } from './presets.ts';
import { inBatchFault, unusedSampling } from './unused-sampling.ts';
import { ownValidationSchema } from './validation-schema.ts';
import { TABLE_PLACES } from './variant-names.ts';

/*
 * A recipe decides a training run. Every default is stated here and nowhere else; a preset replaces defaults for what the recipe leaves out.
 */

const count = (min: number) => z.number().int().min(min);
const rate = z.number().min(0).max(1);

const headSchema = z
  .strictObject({
    pooling: z.enum(['cls', 'last', 'mean', 'pair']).default('cls'),
    hidden: z.boolean().default(true).describe('Add a dense layer with tanh before the last one (the pooler of BERT).'),
    apart: z.boolean().optional().describe('Pooling pair: read the two texts apart until training opens gates.'),
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

const settingsSchema = z.strictObject({
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
      'Head of the model. auto: the export’s own, else CLS with a dense layer; of a decoder the last token without one. { pooling: cls, last, mean or pair, hidden, apart }: pair compares the mean states of query and passage, near a sentence encoder’s cosine; with apart: true each text is read as it is alone, which starts at the cosine exactly, and gates that let the texts read each other open in training.',
    ),
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

type Settings = z.infer<typeof settingsSchema>;

interface Conflict {
  readonly field: readonly string[];
  readonly applies: (recipe: Settings) => boolean;
  readonly message: string;
}

/** Returns the most tokens of a pair when the published model is served. */
export const servedLength = ({ publish, maxLength }: Pick<Recipe, 'publish' | 'maxLength'>): number =>
  publish?.maxLength ?? maxLength;

export const WARMUP_RULE = 'fewer steps than `steps`, or a share of them below 1';

/** Settings that exclude each other, each with what to change. */
const CONFLICTS: readonly Conflict[] = [
  {
    field: ['schedule', 'warmup'],
    applies: (recipe) => recipe.epochs === undefined && warmupSteps(recipe) >= recipe.steps,
    message: WARMUP_RULE,
  },
  {
    field: ['precision'],
    applies: ({ precision, provider }) => precision === 'fp16' && provider === 'cpu',
    message: 'fp16 on a CPU is slower than fp32: set provider to cuda or webgpu, or precision to fp32',
  },
  {
    field: ['precision'],
    applies: ({ precision, provider }) => precision === 'bf16' && provider !== 'cuda',
    message: 'only provider cuda has bf16: set provider to cuda, or precision to fp32 (on webgpu also fp16)',
  },
  {
    field: ['stepsPerRun'],
    applies: ({ stepsPerRun, batch }) => stepsPerRun > 1 && batch.accumulate > 1,
    message: 'several steps a run take one batch each: set batch.accumulate or stepsPerRun to 1',
  },
  {
    field: ['stepsPerRun'],
    applies: ({ stepsPerRun, ema }) => stepsPerRun > 1 && ema > 0,
    message: 'the moving average needs the weights of every step: set ema to 0 or stepsPerRun to 1',
  },
  {
    field: ['schedule', 'floor'],
    applies: ({ schedule }) => schedule.name === 'constant' && schedule.floor > 0,
    message: 'schedule constant never falls: set floor to 0 or name to linear or cosine',
  },
  {
    field: ['optimizer', 'place'],
    applies: ({ stepsPerRun, optimizer }) => stepsPerRun > 1 && optimizer.place === 'host',
    message: 'several steps a run need the optimizer in the graph: set optimizer.place to graph or stepsPerRun to 1',
  },
];

export const recipeSchema = settingsSchema.superRefine((recipe, context) => {
  for (const { field, applies, message } of CONFLICTS)
    if (applies(recipe)) context.addIssue({ code: 'custom', path: [...field], message });
  const message = inBatchFault(recipe);
  if (message !== undefined) context.addIssue({ code: 'custom', path: ['data', 'sampler', 'inBatch'], message });
});

export type Recipe = z.infer<typeof recipeSchema>;

/** A recipe with its folder, which paths in it are relative to. */
export interface LoadedRecipe {
  readonly recipe: Recipe;
  readonly folder: string;
  /** Text of the recipe, for the card. */
  readonly source: string;
}

type Tree = Record<string, unknown>;

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Two ways to say how long a run is; the upper document's replaces the other one of the lower. */
const LENGTHS = ['steps', 'epochs'];

/** Merges two documents: mappings are merged, other values of `under` are replaced by those of `over`. */
export function merge(under: Tree, over: Tree): Tree {
  const merged: Tree = { ...under };
  if (LENGTHS.some((key) => over[key] !== undefined)) for (const key of LENGTHS) delete merged[key];
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isTree(below) && isTree(value) ? merge(below, value) : value;
  }
  return merged;
}

/**
 * Parses a recipe in its documented spelling or an older one.
 * @param warn receives a line for each old spelling; standard error by default.
 * @throws WinnowError `invalid_input` naming every fault with its field.
 */
export function parseRecipe(document: unknown, where: string, warn?: (line: string) => unknown): Recipe {
  const { document: respelled, old, issues } = readSpelling(recipeSchema, document);
  warnOfOld(old, warn);
  const sampler = isTree(respelled) && isTree(respelled.data) ? respelled.data.sampler : undefined;
  return checkRecipe(respelled, where, [...issues, ...unusedSampling(sampler)]);
}

/**
 * Checks a recipe in the schema's spelling and fills in its preset and defaults.
 * @param found faults that were found before.
 * @throws WinnowError `invalid_input` naming every fault with its field.
 */
export function checkRecipe(document: unknown, where: string, found: readonly z.core.$ZodIssue[] = []): Recipe {
  if (!isTree(document))
    throw new WinnowError('invalid_input', { where, expected: 'a mapping of settings', got: describe(document) });
  const preset = typeof document.preset === 'string' ? PRESETS[document.preset] : undefined;
  const whole = preset ? merge(preset.settings, document) : document;
  const result = recipeSchema.safeParse(whole);
  const both = LENGTHS.every((key) => document[key] !== undefined);
  if (both) found = [...found, { code: 'custom', path: ['epochs'], message: 'steps or epochs, one of them', input: 2 }];
  if (result.success && found.length === 0) return result.data;
  throw new WinnowError('invalid_input', {
    where,
    expected: 'a recipe',
    got: faultList(describeIssues([...found, ...(result.error?.issues ?? [])], whole, 'recipe')),
  });
}

/**
 * Reads a recipe file.
 * @param overrides flags such as `steps`, which replace settings of the file.
 * @param warn as for `parseRecipe`.
 */
export function readRecipe(path: string, overrides: Tree = {}, warn?: (line: string) => unknown): LoadedRecipe {
  const { text: source, document } = readYamlFile(path);
  const recipe = parseRecipe(isTree(document) ? merge(document, overrides) : document, path, warn);
  return { recipe, folder: dirname(resolve(path)), source };
}

/** Returns the steps of warm-up. */
export const warmupSteps = ({ schedule, steps }: Pick<Recipe, 'schedule' | 'steps'>): number =>
  schedule.warmup < 1 ? Math.round(schedule.warmup * steps) : Math.round(schedule.warmup);
