import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { matches } from '../../onnx/weights.ts';
import { adoptFirstPosition } from '../../registry/adoption.ts';
import { checkSpace } from '../../util/disk-space.ts';
import { nearestName } from '../../util/nearest.ts';
import { fieldName } from '../../util/spelling.ts';
import type { DataSource } from '../data/data-schema.ts';
import { type LoadedRecipe, type Recipe, servedLength } from '../recipe/recipe.ts';
import { type Backbone, trainable } from '../step/backbone.ts';
import { parameterCount } from '../step/trainable.ts';

/*
 * What a run would only meet after minutes or hours, checked before its first step.
 */

const FILE_FIELDS = [
  'path',
  'qrels',
  'candidates',
  'queries',
  'collection',
  'teacher',
  'excludeJudged',
  'drop',
] as const satisfies readonly (keyof DataSource)[];

type Named = readonly [field: string, path: string];

function filesOf(source: DataSource, at: readonly PropertyKey[]): Named[] {
  return FILE_FIELDS.flatMap((field): Named[] => {
    const path = source[field];
    return path === undefined ? [] : [[fieldName([...at, field]), path]];
  });
}

/** Names every file of a recipe's data that does not exist. @throws WinnowError `invalid_input`. */
export function checkFiles({ recipe, folder }: LoadedRecipe): void {
  const { data, validation } = recipe;
  const named = [
    ...data.train.flatMap((source, i) => filesOf(source, ['data', 'train', i])),
    ...(validation ? filesOf(validation.data, ['validation', 'data']) : []),
  ];
  const missing = named.filter(([, path]) => !existsSync(resolve(folder, path)));
  if (missing.length === 0) return;
  throw new WinnowError('invalid_input', {
    where: 'recipe',
    expected: `files and folders that exist (paths are relative to ${folder})`,
    got: missing.map(([field, path]) => `${field}: ${path}, which does not`).join('; '),
  });
}

/** Parameters that hold one row a position. */
const POSITION_TABLE = /(?:^|\.)(?:position_embeddings?|embed_positions|wpe)\.weight$/;

/** Returns the most tokens of a pair that the backbone has learned positions for; undefined where positions are computed. */
function positionsOf({ weights, config }: Backbone): number | undefined {
  const rows = weights.flatMap(({ name, parameter, value }) =>
    value.dims.length === 2 && (POSITION_TABLE.test(parameter) || POSITION_TABLE.test(name)) ? [value.dims[0]!] : [],
  );
  return rows.length === 0 ? undefined : Math.min(...rows) - adoptFirstPosition(config);
}

function checkLength(backbone: Backbone, recipe: Recipe): void {
  const positions = positionsOf(backbone);
  if (positions === undefined) return;
  const lengths = { maxLength: recipe.maxLength, 'publish.maxLength': servedLength(recipe) };
  for (const [where, got] of Object.entries(lengths))
    if (got > positions)
      throw new WinnowError('invalid_input', {
        where,
        expected: `at most ${positions}, the positions that ${recipe.backbone} has`,
        got: String(got),
      });
}

/** Edits that a mistyped part of a name may be away from the right one. */
const TYPING_ERRORS = 3;

/** Refuses patterns of `freeze` that have no effect, and those that leave nothing to train. */
function checkFreeze(backbone: Backbone, { freeze }: Recipe): void {
  const { weights } = backbone;
  const refuse = (expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where: 'freeze', expected, got });
  };
  for (const pattern of freeze) {
    if (weights.some(({ name, parameter }) => matches([pattern], name, parameter))) continue;
    const parts = new Set(weights.flatMap(({ parameter }) => parameter.split('.')));
    const near = nearestName(pattern, [...parts], TYPING_ERRORS);
    const names = weights.slice(0, 2).map(({ parameter }) => parameter);
    refuse(
      `parts of names of weights, such as ${[...(near === undefined ? [] : [near]), ...names].join(', ')}`,
      `${JSON.stringify(pattern)}, which no name has`,
    );
  }
  if (trainable(backbone).length === 0)
    refuse('at least one weight to train', `patterns that freeze all ${weights.length}`);
}

/**
 * Checks a recipe against its backbone: lengths and patterns of `freeze`.
 * @throws WinnowError `invalid_input` naming the setting and its largest or possible value.
 */
export function checkBackbone(backbone: Backbone, recipe: Recipe): void {
  checkLength(backbone, recipe);
  checkFreeze(backbone, recipe);
}

const BYTES = 4;
/** Arrays of a checkpoint for each trained weight: the weight and its two moments. */
const COPIES = 3;

/** Returns the bytes of a run's files that new ones replace. */
async function bytesInside(runFolder: string): Promise<number> {
  const folder = join(runFolder, 'checkpoints');
  const names = await readdir(folder).catch(() => []);
  const files = [...names.map((name) => join(folder, name)), join(runFolder, 'best.safetensors')];
  const sizes = await Promise.all(files.map(async (file) => (await stat(file).catch(() => undefined))?.size ?? 0));
  return sizes.reduce((a, b) => a + b, 0);
}

/**
 * Checks that a run's folder has room for its checkpoints and best weights; those that are there will be replaced.
 * @throws WinnowError `invalid_input` with the bytes that are needed and free.
 */
export async function checkRunFolder(backbone: Backbone, recipe: Recipe, runFolder: string): Promise<void> {
  const { keep } = recipe.checkpoint;
  const trained = BYTES * parameterCount(trainable(backbone));
  const one = trained * (COPIES + (recipe.ema > 0 ? 1 : 0));
  const best = recipe.validation ? trained : 0;
  // A new checkpoint is whole before the oldest one is removed.
  const bytes = one * (keep + 1) + best - (await bytesInside(runFolder));
  if (bytes > 0) await checkSpace(runFolder, bytes, `${keep + 1} checkpoints (\`checkpoint.keep\` says how many)`);
}
