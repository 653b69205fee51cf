import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Model } from '../../onnx/graph.ts';
import { writeModel } from '../../onnx/model-file.ts';
import { readJsonObject } from '../../registry/folder-files.ts';
import { findSnapshot } from '../../registry/hub-cache.ts';
import { MANIFEST_FILE, MANIFEST_FORMAT, readManifest, writeManifest } from '../../registry/manifest.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { findPublished, type Published, publish } from '../../registry/publish-version.ts';
import { MODULE_SETTINGS, MODULES } from '../../registry/sentence-transformers.ts';
import { templateManifest } from '../../registry/version-template.ts';
import { trainingCurveSvg } from '../../reports/charts/training-curve.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import { readTokenizerFolder } from '../../tokenization/tokenizer-folder.ts';
import { temporaryFolder } from '../../util/files.ts';
import { isObject, readJsonFile } from '../../util/json-files.ts';
import { isDecoder } from '../../util/known-templates.ts';
import { openSources } from '../data/sources.ts';
import { selfTest, selfTestScores } from '../measure/self-test.ts';
import { openValidation } from '../measure/validation.ts';
import { createObjective } from '../objectives/catalog.ts';
import { parityRows } from '../quantization/parity-rows.ts';
import {
  type MadeVariant,
  parityCard,
  parityFacts,
  type RefusedVariant,
  refusedCard,
  tablesIn,
  tryVariant,
} from '../quantization/variants.ts';
import { type LoadedRecipe, servedLength } from '../recipe/recipe.ts';
import { VARIANTS } from '../recipe/variant-names.ts';
import { CURVE_FILE, isValidation, readCurve } from '../run/curve.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { type Backbone, withWeights } from '../step/backbone.ts';
import { type BackboneFacts, type CardFile, writeCard } from './card.ts';
import { interactionScores, writeInteractionFolder } from './interaction-folder.ts';
import { withZeroPoint } from './published-zero.ts';
import { changed, checkTorchFiles, servedConfig, writeJson, writeTorchFiles } from './torch-folder.ts';

/** Files of a tokenizer in Hugging Face layout. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spm.model',
  'added_tokens.json',
];

/** Returns the model with its trained weights; `logits` is its only output. */
export function trainedModel(backbone: Backbone, outcome: Pick<TrainingOutcome, 'weights'>): Model {
  return withWeights(backbone.model, outcome.weights);
}

async function licenseIn(folder: string): Promise<string | undefined> {
  const card = join(folder, 'README.md');
  if (!existsSync(card)) return undefined;
  return /^licen[cs]e:\s*['"]?([^'"\n]+)/im.exec(await readFile(card, 'utf8'))?.[1]?.trim();
}

/** Returns name, license and training files of a backbone; a registry version is named `name@version` and lists its files. */
async function backboneFacts(folder: string): Promise<BackboneFacts> {
  const fileLicense = await licenseIn(folder);
  if (!existsSync(join(folder, MANIFEST_FILE))) {
    const snapshot = await findSnapshot(folder).catch(() => undefined);
    return { name: snapshot?.origin.replace(/@.*/, '') ?? basename(folder), license: fileLicense, data: [] };
  }
  const { training, license } = await readManifest(folder);
  const data = Array.isArray(training?.data) ? training.data : [];
  return {
    name: `${basename(resolve(folder, '..'))}@${basename(folder)}`,
    license: license ?? fileLicense,
    data: data.filter((entry): entry is typeof entry & CardFile => isFile(entry)),
  };
}

const isFile = (entry: unknown): entry is CardFile =>
  typeof entry === 'object' &&
  entry !== null &&
  typeof (entry as Partial<CardFile>).file === 'string' &&
  typeof (entry as Partial<CardFile>).sha256 === 'string';

async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const file of TOKENIZER_FILES)
    if (existsSync(join(from, file))) await copyFile(join(from, file), join(to, file));
  if (await isLowercase(from))
    await writeFile(join(to, MODULE_SETTINGS), `${JSON.stringify({ do_lower_case: true }, null, 2)}\n`);
}

/** Writes the template that the backbone's pairs were read by, so that the tokenizers of the new folder read theirs alike. */
async function copyTemplate({ folder, config }: Backbone, to: string): Promise<void> {
  const { found } = await readTokenizerFolder(folder);
  if (found) await writeManifest(to, { format: MANIFEST_FORMAT, ...templateManifest(found) });
  // The settings that said so are those of the backbone and are not copied.
  else if (isDecoder(config)) await writeManifest(to, { format: MANIFEST_FORMAT, template: 'pair' });
}

/** Whether sentence-transformers' settings turn text into lower case; the other settings are those of the backbone, not of the new model. */
async function isLowercase(folder: string): Promise<boolean> {
  const path = join(folder, MODULE_SETTINGS);
  return existsSync(path) && (await readJsonObject(path, MODULE_SETTINGS)).do_lower_case === true;
}

/** Sets the longest pair in tokenizer_config.json, by which PyTorch's tokenizers cut. */
async function limitTokens(folder: string, length: number): Promise<void> {
  const path = join(folder, 'tokenizer_config.json');
  const found = existsSync(path) ? await readJsonFile(path) : {};
  const settings = isObject(found) ? found : {};
  await writeJson(path, changed(settings, { model_max_length: length }));
}

/** Writes the files of PyTorch, if the recipe asks for them, and compares their scores. Returns the paths of weights. */
async function writeTorch(folder: string, loaded: LoadedRecipe, { backbone }: TrainingOutcome, model: Model) {
  if (!loaded.recipe.publish?.formats.includes('safetensors')) return [];
  await limitTokens(folder, servedLength(loaded.recipe));
  const paths = await writeTorchFiles(folder, loaded.recipe, backbone, model);
  await checkTorchFiles(folder, backbone, model);
  if (existsSync(join(folder, MODULES))) {
    const known = existsSync(join(folder, MANIFEST_FILE)) ? await readManifest(folder) : {};
    await writeManifest(folder, { ...known, format: MANIFEST_FORMAT, wholeGraph: true });
  }
  return paths;
}

/** Writes config.json, the ONNX files and, where they are asked for, weights in PyTorch's layout. Returns the paths of these. */
async function writeModels(file: string, folder: string, loaded: LoadedRecipe, outcome: TrainingOutcome) {
  const { backbone } = outcome;
  if (backbone.interaction) return writeInteractionFolder(folder, backbone.interaction, outcome);
  const model = trainedModel(backbone, outcome);
  await writeModel(file, model, tablesIn(loaded.recipe.publish?.tables, 'model'));
  await writeJson(join(folder, 'config.json'), servedConfig(backbone.config));
  return writeTorch(folder, loaded, outcome, model);
}

/** Writes weights, tokenizer, config, card and curve into a folder in Hugging Face layout. */
async function writeVersionFolder(folder: string, loaded: LoadedRecipe, outcome: TrainingOutcome) {
  const { recipe, source } = loaded;
  const { backbone } = outcome;
  await mkdir(join(folder, 'onnx'), { recursive: true });
  const file = join(folder, 'onnx', 'model.onnx');
  await copyTokenizer(backbone.folder, folder);
  await copyTemplate(backbone, folder);
  const torch = await writeModels(file, folder, loaded, outcome);
  const curve = await readCurve(join(outcome.runFolder, CURVE_FILE));
  const picture = await trainingCurveSvg({
    title: recipe.name,
    losses: curve.flatMap((point) => (isValidation(point) ? [] : [point])),
    checks: curve.filter(isValidation),
  });
  await writeFile(join(folder, 'curve.svg'), picture);
  const objective = createObjective(recipe.objective).name;
  const card = writeCard({
    recipe,
    source,
    outcome,
    objective,
    backbone: await backboneFacts(backbone.folder),
    prefixes: backbone.interaction?.settings,
  });
  await writeFile(join(folder, 'README.md'), card.readme);
  return { file, torch, manifest: card.manifest };
}

interface Variants {
  readonly made: readonly MadeVariant[];
  readonly refused: readonly RefusedVariant[];
}

/** Makes the smaller files of a recipe, calibrated on training lists and compared on others and on the validation set. */
async function makeVariants(
  folder: string,
  { recipe, folder: base }: LoadedRecipe,
  outcome: TrainingOutcome,
): Promise<Variants> {
  const wanted = VARIANTS.filter((variant) => recipe.publish?.[variant]);
  if (wanted.length === 0) return { made: [], refused: [] };
  const tokenizer = await createLocalTokenizer(folder);
  try {
    const pairs = pairsWithin(recipe);
    const source = await openSources(recipe.data, base);
    const rows = await parityRows(source.lists(recipe.seed), tokenizer, pairs);
    const validation = recipe.validation && (await openValidation(recipe.validation, base, tokenizer, pairs));
    const model = trainedModel(outcome.backbone, outcome);
    const tried: (MadeVariant | RefusedVariant)[] = [];
    for (const variant of wanted)
      tried.push(
        await tryVariant(
          variant,
          folder,
          model,
          outcome.backbone.logits,
          { ...rows, padId: tokenizer.padId },
          { ...(validation && { validation }), write: tablesIn(recipe.publish?.tables, `model_${variant}`) },
        ),
      );
    return { made: tried.filter((one) => 'file' in one), refused: tried.filter((one) => 'reason' in one) };
  } finally {
    await tokenizer.close();
  }
}

/** Scores the self-test pairs with every published file. */
async function scoresOf(
  folder: string,
  float: string | undefined,
  variants: readonly MadeVariant[],
  recipe: LoadedRecipe['recipe'],
): Promise<Record<string, number[]>> {
  const files = [
    ...(float === undefined ? [] : [['fp32', float] as const]),
    ...variants.map((v) => [v.variant, v.file] as const),
  ];
  const scores: Record<string, number[]> = {};
  const served = { ...recipe, maxLength: servedLength(recipe) };
  for (const [name, file] of files) scores[name] = await selfTestScores(file, folder, served);
  return scores;
}

/** A version, and whether it was there already. */
export interface PublishedRun extends Published {
  readonly already: boolean;
  /** Smaller files that the recipe asks for and the version lacks. */
  readonly refused: readonly RefusedVariant[];
}

/** Returns a hash of what decides the files of a version: the run, and the settings of publishing but for where and under which label. */
function versionKey({ recipe }: LoadedRecipe, { runHash }: TrainingOutcome): string {
  const { registry: _r, name: _n, label: _l, ...decisive } = recipe.publish!;
  return createHash('sha256')
    .update(JSON.stringify([runHash, decisive]))
    .digest('hex')
    .slice(0, 16);
}

/**
 * Publishes a finished run as the next version of its model, atomically: a server that watches the registry loads it. A run that was begun
 * before and is published as it would be now leaves the registry as it is. A smaller file that exceeds its bounds is left out, with its reason
 * on the card, and the float32 file is published whatever the recipe says.
 * @throws WinnowError of the registry, where the folder would not be admitted.
 */
export async function publishRun(loaded: LoadedRecipe, trained: TrainingOutcome): Promise<PublishedRun> {
  const settings = loaded.recipe.publish!;
  const registry = resolve(loaded.folder, settings.registry);
  const name = settings.name ?? loaded.recipe.name;
  const run = versionKey(loaded, trained);
  const known = trained.from > 0 && (await findPublished(registry, name, (m) => m.training?.run === run));
  if (known) return { ...known, already: true, refused: [] };
  const outcome = await withZeroPoint(loaded, trained);
  await using temporary = await temporaryFolder('publish');
  const folder = temporary.path;
  const { file, torch, manifest } = await writeVersionFolder(folder, loaded, outcome);
  const { made: variants, refused } = await makeVariants(folder, loaded, outcome);
  for (const part of [parityCard(variants), refusedCard(refused)].filter((text) => text !== ''))
    await appendFile(join(folder, 'README.md'), `\n${part}`);
  const keepsFloat = settings.fp32 || variants.length === 0 || refused.length > 0;
  if (!keepsFloat) for (const path of [file, file.replace(/onnx$/, 'tables')]) await rm(path, { force: true });
  const { interaction } = outcome.backbone;
  const scores = interaction
    ? { fp32: await interactionScores(folder, interaction, loaded, outcome) }
    : await scoresOf(folder, keepsFloat ? file : undefined, variants, loaded.recipe);
  const reasons = Object.fromEntries(refused.map(({ variant, reason }) => [variant, { refused: reason }]));
  const quantization = { ...parityFacts(variants), ...reasons };
  const training = { ...manifest.training, run, ...(Object.keys(quantization).length > 0 && { quantization }) };
  const published = await publish(folder, registry, name, {
    manifest: { ...manifest, training, selfTest: selfTest(scores) },
    label: settings.label,
    weights: torch,
  });
  return { ...published, already: false, refused };
}
