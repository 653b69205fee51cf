import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { Tensor } from 'onnxruntime-node';
import { createSession } from '../inference/providers.ts';
import type { Model } from '../onnx/graph.ts';
import { writeModel } from '../onnx/model-file.ts';
import type { SelfTest } from '../registry/manifest.ts';
import { type Published, publish } from '../registry/publish.ts';
import { createLocalTokenizer } from '../tokenization/index.ts';
import { type Backbone, withWeights } from './backbone.ts';
import { writeCard } from './card.ts';
import { readCurve } from './curve.ts';
import { curveSvg } from './curve-picture.ts';
import { rowFeeds } from './feeds.ts';
import { createObjective } from './objectives/catalogue.ts';
import type { LoadedRecipe, Recipe } from './recipe.ts';
import { pairOptions, type TrainingOutcome } from './trainer.ts';

/** What a tokenizer may be made of, in Hugging Face folders. */
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

/** Pairs of our own whose scores a server repeats before it serves the version. Their texts are in no data set. */
const SELF_TEST: readonly (readonly [query: string, passage: string])[] = [
  [
    'how to sharpen a kitchen knife',
    'Hold the blade at a steady angle against the whetstone and draw it from heel to tip.',
  ],
  ['how to sharpen a kitchen knife', 'The museum opens at ten and closes at six, on Mondays it stays shut.'],
  ['opening hours of the museum', 'The museum opens at ten and closes at six, on Mondays it stays shut.'],
  [
    'opening hours of the museum',
    'Hold the blade at a steady angle against the whetstone and draw it from heel to tip.',
  ],
];

/** int8 kernels differ a little between processors; fp32 ones hardly. */
const SELF_TEST_TOLERANCE = 0.1;

/** Scores of the self-test pairs by the file that will be served. */
export async function selfTestScores(
  file: string,
  folder: string,
  recipe: Pick<Recipe, 'maxLength' | 'maxQueryTokens'>,
): Promise<number[]> {
  const tokenizer = await createLocalTokenizer(folder);
  const session = await createSession(file, { threads: 1 });
  try {
    const scores: number[] = [];
    for (const [query, passage] of SELF_TEST) {
      const { rows } = await tokenizer.encode(query, [passage], pairOptions(recipe));
      const results = await session.run(rowFeeds(rows, session.inputNames, tokenizer.padId));
      scores.push(Number((results[session.outputNames[0]!] as Tensor).data[0]));
    }
    return scores;
  } finally {
    await session.release();
    await tokenizer.close();
  }
}

/** Self-test of a version from the scores of each of its variants. */
export function selfTest(byVariant: Readonly<Record<string, readonly number[]>>): SelfTest {
  return {
    tolerance: SELF_TEST_TOLERANCE,
    pairs: SELF_TEST.map(([query, passage], i) => ({
      query,
      passage,
      scores: Object.fromEntries(Object.entries(byVariant).map(([variant, scores]) => [variant, scores[i]!])),
    })),
  };
}

/** The trained model as it is served: weights in place, `logits` the only output. */
export function trainedModel(backbone: Backbone, outcome: Pick<TrainingOutcome, 'weights'>): Model {
  return withWeights(backbone.model, outcome.weights);
}

/** The backbone's config.json as that of a cross-encoder with one label. */
function servedConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    ...config,
    num_labels: 1,
    id2label: { 0: 'LABEL_0' },
    label2id: { LABEL_0: 0 },
    sentence_transformers: { activation_fn: 'torch.nn.modules.activation.Sigmoid' },
  };
}

async function licenceIn(folder: string): Promise<string | undefined> {
  const card = join(folder, 'README.md');
  if (!existsSync(card)) return undefined;
  return /^licen[cs]e:\s*['"]?([^'"\n]+)/im.exec(await readFile(card, 'utf8'))?.[1]?.trim();
}

async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const file of TOKENIZER_FILES)
    if (existsSync(join(from, file))) await copyFile(join(from, file), join(to, file));
}

/** Writes ONNX file, tokenizer, config, card and curve into a folder in Hugging Face layout; returns the manifest for it. */
export async function writeVersionFolder(folder: string, loaded: LoadedRecipe, outcome: TrainingOutcome) {
  const { recipe, source } = loaded;
  const { backbone } = outcome;
  await mkdir(join(folder, 'onnx'), { recursive: true });
  const file = join(folder, 'onnx', 'model.onnx');
  await writeModel(file, trainedModel(backbone, outcome));
  await copyTokenizer(backbone.folder, folder);
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(servedConfig(backbone.config), null, 2)}\n`);
  const curve = await readCurve(join(outcome.runFolder, 'curve.jsonl'));
  await writeFile(join(folder, 'curve.svg'), await curveSvg(recipe.name, curve));
  const objective = createObjective(recipe.objective).name;
  const card = writeCard({
    recipe,
    source,
    outcome,
    objective,
    backbone: { name: basename(backbone.folder), licence: await licenceIn(backbone.folder) },
  });
  await writeFile(join(folder, 'README.md'), card.readme);
  return { file, manifest: card.manifest };
}

/**
 * Publishes a finished run as the next version of its model, in one rename: a server that watches the registry picks it up.
 * @throws WinnowError of the registry, where the folder would not be admitted.
 */
export async function publishRun(loaded: LoadedRecipe, outcome: TrainingOutcome): Promise<Published> {
  const settings = loaded.recipe.publish!;
  const folder = await mkdtemp(join(tmpdir(), 'winnow-publish-'));
  try {
    const { file, manifest } = await writeVersionFolder(folder, loaded, outcome);
    const scores = { fp32: await selfTestScores(file, folder, loaded.recipe) };
    return await publish(folder, resolve(loaded.folder, settings.registry), settings.name ?? loaded.recipe.name, {
      manifest: { ...manifest, selfTest: selfTest(scores) },
      label: settings.label,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
