import { readdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readLabels } from '../../registry/labels.ts';
import { checkNames } from '../../registry/publish-version.ts';
import { checkSpace } from '../../util/disk-space.ts';
import { withTemporary } from '../../util/files.ts';
import { findBackbone } from '../recipe/backbone-folder.ts';
import type { LoadedRecipe, Recipe } from '../recipe/recipe.ts';
import { loadBackbone } from '../step/backbone.ts';
import { checkTorchExport } from './torch-folder.ts';

type PublishSettings = NonNullable<Recipe['publish']>;

/** Bytes of the files of a version, by the size of its float32 file. */
const shareOf = ({ fp32, int8, fp16, formats }: PublishSettings, isInteraction: boolean): number =>
  // Weights, and the graphs of passages and of the top.
  isInteraction
    ? 3
    : (fp32 || !(int8 || fp16) ? 1 : 0) +
      (int8 ? 0.4 : 0) +
      (fp16 ? 0.5 : 0) +
      (formats.includes('safetensors') ? 1 : 0);

/** Returns the size of the largest file of a model folder: its weights. */
async function largestFile(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return Math.max(0, ...sizes);
}

/** Checks that this user may add files to a folder, by adding one. */
async function checkWritable(folder: string): Promise<void> {
  await withTemporary(join(folder, 'check'), (temporary) => writeFile(temporary, '')).catch((error) => {
    const { code, message } = error as NodeJS.ErrnoException;
    const got = `${code ?? message}; correct \`publish.registry\` or the rights of the folder`;
    const params = { where: folder, expected: 'a registry folder that this user can write to', got };
    throw new WinnowError('invalid_input', params, { cause: error });
  });
}

/**
 * Checks before training what publishing needs after it: names, a registry folder that can be written, labels that can be read, and room.
 * @param exported backbones and heads whose export to PyTorch was checked before; this one is added.
 * @throws WinnowError `invalid_field` for names, `invalid_manifest` for labels, `invalid_input` for the folder.
 */
export async function checkPublish({ recipe, folder }: LoadedRecipe, exported = new Set<string>()): Promise<void> {
  const { publish } = recipe;
  if (!publish) return;
  const { name = recipe.name, label } = publish;
  checkNames(name, label);
  const registry = resolve(folder, publish.registry);
  await checkWritable(registry);
  const model = join(registry, name);
  const found = await stat(model).catch(() => undefined);
  if (found && !found.isDirectory())
    throw new WinnowError('invalid_input', { where: model, expected: 'a folder of versions', got: 'a file' });
  if (found) await checkWritable(model);
  if (label !== undefined) await readLabels(model);
  const backbone = await findBackbone(recipe.backbone, folder);
  const weights = await largestFile(backbone).catch(() => 0);
  for (const place of [registry, tmpdir()])
    await checkSpace(place, weights * shareOf(publish, recipe.interaction !== undefined), 'the published files');
  const form = JSON.stringify([backbone, recipe.head, recipe.lora, recipe.freeze, recipe.optimizer.rates]);
  if (!publish.formats.includes('safetensors') || exported.has(form)) return;
  await checkTorchExport(recipe, await loadBackbone(backbone, recipe));
  exported.add(form);
}
