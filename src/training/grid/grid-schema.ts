import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import { describeIssues, faultList } from '../../util/schema-issues.ts';
import { parseTyped, spelled } from '../../util/spelling.ts';
import { readYamlFile } from '../../util/yaml-file.ts';
import { objectiveSpecSchema } from '../objectives/catalog.ts';
import { recipeSchema } from '../recipe/recipe.ts';
import { validationSchema } from '../recipe/validation-schema.ts';

/** Part of a recipe's settings; checked when a cell has all of them. */
const settings = (description: string) =>
  spelled(z.record(z.string(), z.unknown()).describe(description), { shapeOf: () => recipeSchema });

const backboneSchema = z.strictObject({
  name: z.string().min(1).describe('Name in reports and folders.'),
  path: z.string().describe('Model folder, relative to the grid file, or a model of the hub as in a recipe.'),
  group: z.string().default('all').describe('Group of backbones that share the hyper-parameters found by the search.'),
  settings: settings('Recipe settings of this backbone.').default({}),
});

const searchSchema = z.strictObject({
  parameters: spelled(
    z
      .record(z.string(), z.array(z.unknown()).min(1))
      .describe(
        'Recipe fields with dots between (`optimizer.learningRate`), each with the values to try; all combinations are run.',
      ),
    { pathsOf: recipeSchema },
  ),
  objectives: z.array(z.string()).optional().describe('Names of the objectives to search with; all by default.'),
  backbones: z.array(z.string()).optional().describe('Names of the backbones to search with; all by default.'),
  seeds: z
    .array(z.number().int().min(0))
    .min(1)
    .optional()
    .describe('Seeds of the search; those of the grid by default.'),
  steps: z.number().int().min(1).optional().describe('Steps of a search run; the recipe’s by default.'),
  by: z.enum(['group', 'all']).default('group').describe('Whether to choose one setting per group, or one for all.'),
});

export const gridSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,40}$/i)
    .describe('Name of the grid.'),
  recipe: settings('Settings of every cell: a recipe without name, backbone, objective and seed.'),
  objectives: z.array(objectiveSpecSchema).min(1).describe('Objectives, written as in a recipe.'),
  backbones: z.array(backboneSchema).min(1).describe('Backbones to train.'),
  seeds: z.array(z.number().int().min(0)).min(1).default([42]).describe('Seeds to train each combination with.'),
  objectiveSettings: z
    .record(z.string(), settings('Recipe settings.'))
    .default({})
    .describe('Recipe settings by objective, such as its data.'),
  search: searchSchema.optional(),
  benchmarks: z
    .record(z.string(), validationSchema)
    .default({})
    .describe('Sets that finished cells are measured on; the recipe’s validation if empty.'),
  reference: z
    .string()
    .optional()
    .describe(
      'Results whose order of the objectives the report compares with: `paper` (arXiv 2603.03010), or a file that `winnow report --data` reads, relative to the grid file.',
    ),
});
export type Grid = z.infer<typeof gridSchema>;

/** A grid with its folder, which paths in it are relative to. */
export interface LoadedGrid {
  readonly grid: Grid;
  readonly folder: string;
}

/** Reads a grid file. @throws WinnowError `invalid_input` naming every fault with its field. */
export function readGrid(path: string): LoadedGrid {
  const { document } = readYamlFile(path);
  const parsed = parseTyped(gridSchema, document);
  if (parsed.issues)
    throw new WinnowError('invalid_input', {
      where: path,
      expected: 'a grid',
      got: faultList(describeIssues(parsed.issues, parsed.document, 'grid')),
    });
  return { grid: parsed.data, folder: dirname(resolve(path)) };
}
