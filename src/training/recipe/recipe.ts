import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { describeIssues, faultList } from '../../util/schema-issues.ts';
import { readSpelling, warnOfOld } from '../../util/spelling.ts';
import { readYamlFile } from '../../util/yaml-file.ts';
import { conflictsIn } from './conflicts.ts';
import { PRESETS } from './presets.ts';
import { settingsSchema } from './settings-schema.ts';
import { inBatchFault, unusedSampling } from './unused-sampling.ts';

/* A recipe decides a training run. */

/** Returns the most tokens of a pair when the published model is served. */
export const servedLength = ({ publish, maxLength }: Pick<Recipe, 'publish' | 'maxLength'>): number =>
  publish?.maxLength ?? maxLength;

export const recipeSchema = settingsSchema.superRefine((recipe, context) => {
  for (const { field, message } of conflictsIn(recipe)) context.addIssue({ code: 'custom', path: [...field], message });
  const message = inBatchFault(recipe);
  if (message !== undefined) context.addIssue({ code: 'custom', path: ['data', 'sampler', 'inBatch'], message });
});

export type Recipe = z.infer<typeof recipeSchema>;

/**
 * Returns a validation for hashing, without `weights` where it has its default: runs and grid cells that began before there was this choice keep
 * their hashes, and go on.
 */
export function hashedValidation(validation: Recipe['validation']): object | undefined {
  if (validation?.weights !== 'best') return validation;
  const { weights: _default, ...others } = validation;
  return others;
}

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
