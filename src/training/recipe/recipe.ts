import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { describeIssues, faultList } from '../../util/schema-issues.ts';
import { readSpelling, spelled, warnOfOld } from '../../util/spelling.ts';
import { dataSchema, dataSourceSchema } from '../data/schema.ts';
import { objectiveSpecSchema } from '../objectives/catalog.ts';
import { SCHEDULES } from '../optimizers/schedules.ts';
import { PRESETS } from './presets.ts';
import { TABLE_PLACES } from './variant-names.ts';

/*
 * A recipe is all there is to know to repeat a training run. Every default is stated here and nowhere else; a preset fills what the
 * recipe leaves out.
 */

const count = (min: number) => z.number().int().min(min);
const rate = z.number().min(0).max(1);

const headSchema = z.strictObject({
  pooling: z.enum(['cls', 'mean', 'pair']).default('cls'),
  hidden: z.boolean().default(true).describe('A dense layer with tanh before the last one (BERT: the pooler).'),
});

const dropoutSchema = z.union([
  z.literal('config'),
  z.literal('off'),
  z.strictObject({ hidden: rate, attention: rate, classifier: rate }),
]);

export const validationSchema = z.strictObject({
  data: dataSourceSchema,
  every: count(1).default(100).describe('Steps between validations.'),
  measure: z.string().default('nDCG@10'),
  depth: count(1).default(100).describe('Passages of the first stage that are re-ranked.'),
  queries: count(1).optional().describe('Only the first so many queries.'),
  patience: count(0).default(0).describe('Stop after so many validations without a better value; 0 never stops.'),
});

const guardsSchema = z.strictObject({
  collapseStd: z.number().min(0).default(1e-3).describe('Scores of a batch spread less than this: collapse.'),
  stuckTolerance: z
    .number()
    .min(0)
    .default(1e-3)
    .describe('Loss this close, relatively, to what equal scores give: stuck.'),
  window: count(1).default(50).describe('Steps a guard waits before it stops the run.'),
  action: z.enum(['stop', 'warn']).default('stop'),
});

const publishSchema = z.strictObject({
  registry: z.string().default('models'),
  name: z.string().optional().describe("The recipe's name by default."),
  label: z.string().optional().describe('Label set on the new version, such as `stable`.'),
  int8: z.boolean().default(false).describe('Also publish an int8 file whose scores do not depend on batch mates.'),
  fp16: z.boolean().default(false),
  fp32: z.boolean().default(true),
  maxLength: count(8).optional().describe('Tokens of a pair where the model is served; as in training by default.'),
  tables: z
    .enum(TABLE_PLACES)
    .default('inside')
    .describe(
      'beside: word embeddings go into a file of their own, the same bytes for all models that froze them, so that what keeps files by content keeps them once.',
    ),
  licence: spelled(
    z.string().optional().describe('License of the result; by default what backbone and data are said to have.'),
    { key: 'license' },
  ),
});

const settingsSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i),
  preset: z.enum(Object.keys(PRESETS) as [string, ...string[]]).optional(),
  backbone: z.string().describe('Folder with an ONNX export or model.safetensors, config.json and tokenizer.'),
  head: z
    .union([z.literal('auto'), headSchema])
    .default('auto')
    .describe(
      'auto: the export’s own head, else CLS with a dense layer. { pooling: cls, mean or pair, hidden }: pair compares the mean states of query and passage, which starts a sentence encoder as its cosine.',
    ),
  objective: objectiveSpecSchema,
  data: dataSchema,
  validation: validationSchema.optional(),
  maxLength: count(8).default(192).describe('Tokens of a pair, special ones included; passages are cut first.'),
  maxQueryTokens: count(1).default(64).describe('Tokens of a query.'),
  batch: z
    .strictObject({
      queries: count(1).default(4),
      accumulate: count(1).default(1),
      bucketBatches: count(1).default(16),
    })
    .prefault({})
    .describe(
      'queries × accumulate lists a step; batches of like length are formed from bucketBatches × queries lists.',
    ),
  steps: count(1).default(1000).describe('Optimizer steps.'),
  optimizer: z
    .strictObject({
      learningRate: z.number().positive().default(2e-5),
      headLearningRate: z
        .number()
        .positive()
        .optional()
        .describe('For weights that are not the backbone’s; the same by default.'),
      beta1: rate.default(0.9),
      beta2: rate.default(0.999),
      epsilon: z.number().positive().default(1e-8),
      weightDecay: z.number().min(0).default(0.01),
      clipNorm: z.number().positive().default(1),
      place: z
        .enum(['auto', 'graph', 'host'])
        .default('auto')
        .describe('Where the update runs: in the engine’s graph, or over arrays beside it, which is faster on a CPU.'),
    })
    .prefault({}),
  schedule: z
    .strictObject({
      name: z.enum(SCHEDULES).default('linear'),
      warmup: z.number().min(0).default(0.1).describe('Steps, or a share of all steps below 1.'),
    })
    .prefault({}),
  ema: rate.default(0).describe('Decay of the moving average of weights that is published; 0: none.'),
  dropout: dropoutSchema.default('config').describe('config: the rates of the backbone’s config.json.'),
  freeze: z
    .array(z.string())
    .default([])
    .describe('Weights whose name holds one of these are not trained (`*` matches anything).'),
  seed: count(0).default(42).describe('Decides the order of data, draws, dropout and a fresh head.'),
  precision: z.enum(['fp32', 'bf16', 'fp16']).default('fp32').describe('bf16 and fp16 with loss scaling need a GPU.'),
  provider: z.enum(['cpu', 'cuda', 'webgpu']).default('cpu').describe('Where the engine runs.'),
  threads: count(0).default(0).describe('0: all that the process may use.'),
  stepsPerRun: count(1)
    .default(1)
    .describe('Optimizer steps inside one run of the engine (Loop); more than 1 pays on a GPU.'),
  checkpoint: z.strictObject({ every: count(1).default(100), keep: count(1).default(2) }).prefault({}),
  guards: guardsSchema.prefault({}),
  publish: publishSchema.optional(),
});

type Settings = z.infer<typeof settingsSchema>;

interface Conflict {
  readonly field: readonly string[];
  readonly clash: (recipe: Settings) => boolean;
  readonly message: string;
}

/** Tokens of a pair where the published model is served. */
export const servedLength = ({ publish, maxLength }: Pick<Recipe, 'publish' | 'maxLength'>): number =>
  publish?.maxLength ?? maxLength;

/** Settings that cannot stand together, each with its cure. */
const CONFLICTS: readonly Conflict[] = [
  {
    field: ['precision'],
    clash: ({ precision, provider }) => precision === 'fp16' && provider === 'cpu',
    message: 'fp16 on a CPU is slower than fp32: set provider to cuda or webgpu, or precision to fp32',
  },
  {
    field: ['precision'],
    clash: ({ precision, provider }) => precision === 'bf16' && provider !== 'cuda',
    message: 'only provider cuda has bf16: set provider to cuda, or precision to fp32 (on webgpu also fp16)',
  },
  {
    field: ['stepsPerRun'],
    clash: ({ stepsPerRun, batch }) => stepsPerRun > 1 && batch.accumulate > 1,
    message: 'several steps a run take one batch each: set batch.accumulate or stepsPerRun to 1',
  },
  {
    field: ['stepsPerRun'],
    clash: ({ stepsPerRun, ema }) => stepsPerRun > 1 && ema > 0,
    message: 'the moving average needs the weights of every step: set ema to 0 or stepsPerRun to 1',
  },
  {
    field: ['optimizer', 'place'],
    clash: ({ stepsPerRun, optimizer }) => stepsPerRun > 1 && optimizer.place === 'host',
    message: 'several steps a run need the optimizer in the graph: set optimizer.place to graph or stepsPerRun to 1',
  },
];

export const recipeSchema = settingsSchema.superRefine((recipe, context) => {
  for (const { field, clash, message } of CONFLICTS)
    if (clash(recipe)) context.addIssue({ code: 'custom', path: [...field], message });
});

export type Recipe = z.infer<typeof recipeSchema>;

/** Paths in a recipe are relative to the recipe's folder. */
export interface LoadedRecipe {
  readonly recipe: Recipe;
  readonly folder: string;
  /** The text, for the card. */
  readonly source: string;
}

type Tree = Record<string, unknown>;

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `over` wins; mappings are merged, all else is replaced. */
export function merge(under: Tree, over: Tree): Tree {
  const merged: Tree = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isTree(below) && isTree(value) ? merge(below, value) : value;
  }
  return merged;
}

/**
 * Reads a recipe as somebody wrote it.
 * @throws WinnowError `invalid_input` naming every fault with its field.
 */
export function parseRecipe(document: unknown, where: string): Recipe {
  const { document: respelled, old, issues } = readSpelling(recipeSchema, document);
  warnOfOld(old);
  return checkRecipe(respelled, where, issues);
}

/**
 * Checks a recipe in the schema's spelling and fills in its preset and defaults. `found` are faults that reading it has shown.
 * @throws WinnowError `invalid_input` naming every fault with its field.
 */
export function checkRecipe(document: unknown, where: string, found: readonly z.core.$ZodIssue[] = []): Recipe {
  if (!isTree(document))
    throw new WinnowError('invalid_input', { where, expected: 'a mapping of settings', got: describe(document) });
  const preset = typeof document.preset === 'string' ? PRESETS[document.preset] : undefined;
  const whole = preset ? merge(preset.settings, document) : document;
  const result = recipeSchema.safeParse(whole);
  if (result.success && found.length === 0) return result.data;
  throw new WinnowError('invalid_input', {
    where,
    expected: 'a recipe',
    got: faultList(describeIssues([...found, ...(result.error?.issues ?? [])], whole, 'recipe')),
  });
}

/** Reads a recipe; `overrides` are flags such as `steps` that win over the file. */
export function readRecipe(path: string, overrides: Tree = {}): LoadedRecipe {
  let source: string;
  let document: unknown;
  try {
    source = readFileSync(path, 'utf8');
    document = parseYaml(source);
  } catch (error) {
    throw new WinnowError('invalid_input', {
      where: path,
      expected: 'a readable YAML file',
      got: (error as Error).message.split('\n')[0]!,
    });
  }
  const recipe = parseRecipe(isTree(document) ? merge(document, overrides) : document, path);
  return { recipe, folder: dirname(resolve(path)), source };
}

/** Steps of warm-up: a number of steps, or a share of all. */
export const warmupSteps = ({ schedule, steps }: Pick<Recipe, 'schedule' | 'steps'>): number =>
  schedule.warmup < 1 ? Math.round(schedule.warmup * steps) : Math.round(schedule.warmup);
