import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { Checkpoint } from '../../onnx/architectures/checkpoint.ts';
import { readEncoderWeights } from '../../onnx/architectures/encoder-weights.ts';
import { appendLayer, openLayers } from '../../onnx/architectures/post-norm.ts';
import { Settings } from '../../onnx/architectures/settings.ts';
import { MODEL_FILES } from '../../onnx/architectures/whole-model.ts';
import { modelOf } from '../../onnx/builder.ts';
import type { Model } from '../../onnx/graph.ts';
import { poolingIn } from '../../onnx/interaction/from-encoder.ts';
import { initialWeights } from '../../onnx/interaction/initial-weights.ts';
import { familyOf } from '../../onnx/interaction/parts.ts';
import { passageGraph } from '../../onnx/interaction/passage-graph.ts';
import type { InteractionSettings } from '../../onnx/interaction/settings.ts';
import { readModel } from '../../onnx/model-file.ts';
import { probeFeeds } from '../../onnx/probe.ts';
import { runOnce } from '../../onnx/runner.ts';
import { numbers, sizeOf, type Tensor } from '../../onnx/tensor.ts';
import { DEFAULT_LIMITS } from '../../registry/folder-files.ts';
import { foundEncoder } from '../../registry/side-encoder.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { WEIGHT_FILES } from '../../util/weight-files.ts';
import type { InteractionRecipe } from '../recipe/interaction-schema.ts';
import type { Prefixes } from './rows.ts';
import { trainedTop } from './top.ts';

/** An encoder with what an interaction model has beside it. */
export interface InteractionEncoder {
  /** The encoder's config.json with the settings of the interaction. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly settings: InteractionSettings;
  readonly kept: InteractionRecipe['kept'];
  /** The encoder's weights and the new ones, in PyTorch's layout. */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Beginnings of the names of the weights of each layer. */
  readonly layers: readonly string[];
  /** Token ids of passages → states and vectors. */
  readonly passage: Model;
  /** Queries and states → `logits`. */
  readonly top: Model;
}

/** Returns the prefixes of a recipe, else those of the encoder. */
export async function prefixesOf(folder: string, recipe: InteractionRecipe): Promise<Prefixes> {
  const listed = { folder, paths: new Set(await readdir(folder)), limits: DEFAULT_LIMITS };
  const found = await foundEncoder(listed, undefined, []);
  return {
    queryPrefix: recipe.queryPrefix ?? found?.queryPrefix ?? '',
    passagePrefix: recipe.passagePrefix ?? found?.passagePrefix ?? '',
  };
}

/** Returns config.json with `interaction`, as it is published. */
async function configOf(folder: string, recipe: InteractionRecipe): Promise<Record<string, unknown>> {
  const config = await readJsonFile(join(folder, 'config.json'));
  const { form, top, bottom, states } = recipe;
  const pooling = form === 'first' ? 'cls' : (recipe.pooling ?? (await poolingIn(folder)) ?? 'mean');
  return {
    ...(typeof config === 'object' ? config : {}),
    interaction: {
      form,
      top,
      ...(bottom !== undefined && { bottom }),
      ...(states !== undefined && { states }),
      pooling,
      ...(await prefixesOf(folder, recipe)),
    },
  };
}

/** Largest difference of states between an export and the graph of its weights. */
const TOLERANCE = 1e-3;

const largestDifference = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

/** Checks that the weights which were found in an export are those of its graph. @throws WinnowError `invalid_input`. */
async function checkExport(folder: string, open: () => Checkpoint): Promise<void> {
  const file = MODEL_FILES.find((name) => existsSync(join(folder, name)));
  if (file === undefined || WEIGHT_FILES.some((name) => existsSync(join(folder, name)))) return;
  const checkpoint = open();
  const stack = openLayers(checkpoint, familyOf(checkpoint));
  const { g } = stack.parts;
  g.output(
    stack.layers.reduce((x, at) => appendLayer(stack, at, x), stack.x),
    'float32',
    undefined,
    'states',
  );
  const exported = await readModel(join(folder, file));
  const { states } = await runOnce(modelOf(g.build()), probeFeeds(g.build().inputs));
  const results = await runOnce(exported, probeFeeds(exported.graph.inputs));
  const found = numbers(states!);
  const alike = Object.values(results).filter(
    ({ dtype, dims }) => dtype === 'float32' && sizeOf(dims) === found.length,
  );
  const worst = Math.min(...alike.map((value) => largestDifference(found, numbers(value))));
  if (!(worst <= TOLERANCE))
    throw new WinnowError('invalid_input', {
      where: join(folder, file),
      expected: 'an encoder whose weights keep the names of their parameters; add model.safetensors to the folder',
      got: `states that differ by ${worst}`,
    });
}

/**
 * Opens an encoder for an interaction model. In form cosine the model's scores are the encoder's cosines until its first step.
 * @throws WinnowError `invalid_input` for an encoder that no such model can be made of, and settings that do not fit it.
 */
export async function openInteraction(
  folder: string,
  recipe: InteractionRecipe,
  seed: number,
): Promise<InteractionEncoder> {
  const config = await configOf(folder, recipe);
  const file = new Settings(join(folder, 'config.json'), config);
  const weights = new Map(await readEncoderWeights(folder));
  const open = () => new Checkpoint(folder, file, new Map(weights), { isHeadless: true, isUntyped: true });
  await checkExport(folder, open);
  const { model: passage, settings } = passageGraph(open(), recipe.kept);
  for (const [name, value] of initialWeights(open(), weights, settings, { scale: recipe.scale, seed }))
    weights.set(name, value);
  return {
    config: { ...config, interaction: { ...settings } },
    settings,
    kept: recipe.kept,
    weights,
    layers: openLayers(open(), familyOf(open())).layers,
    passage,
    top: trainedTop(open(), settings, recipe.kept),
  };
}
