import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkpoint, readSettings, readWeights } from '../architectures/checkpoint.ts';
import { lacksTokenTypes } from '../architectures/token-types.ts';
import type { Model } from '../graph.ts';
import { writeModel } from '../model-file.ts';
import { narrowModel } from '../rewrites/narrow.ts';
import { type KeptType, passageGraph } from './passage-graph.ts';
import { INTERACTION, type InteractionSettings } from './settings.ts';
import { topGraph } from './top-graph.ts';

/** Where both graphs of an interaction model lie in its folder. */
const PASSAGE_FILE = 'onnx/passage.onnx';
const TOP_FILE = 'onnx/top.onnx';

/** Bytes of weights from which they get a file of their own, which the engine maps. */
const MAPPED = 32 * 2 ** 20;

/** Whether the config.json of a folder is that of an interaction model. @throws WinnowError `invalid_input`. */
export const isInteractionFolder = async (folder: string): Promise<boolean> =>
  (await readSettings(folder)).get(INTERACTION) !== undefined;

export interface InteractionModels {
  /** Token ids of passages → `states`, `scales` (int8 alone), `vector` (cosine form alone). */
  readonly passage: Model;
  /** Token ids of queries and what was kept of passages → `logits`. */
  readonly top: Model;
  readonly settings: InteractionSettings;
}

/**
 * Builds both graphs of an interaction model from a folder with config.json, whose field `interaction` says its form, and weights: the encoder's
 * under their own names, and in the cosine form `interaction.{i}.cross.{query,key,value,output}.{weight,bias}`, `interaction.{i}.gate`,
 * `interaction.scale`, `interaction.head.{0,1}.{weight,bias}` (GELU between them); in the published form `interaction.{i}.norm.{weight,bias}`,
 * `interaction.pooler.{weight,bias}`, `interaction.classifier.{weight,bias}` instead of gate, scale and head. Query layers of the top that
 * were trained stand under `interaction.{i}.layer.` and the encoder's names of a layer; without them the query reads the encoder's.
 * Matrices are [out, in].
 * @param kept Type of the kept states; int8 has a scale a token.
 * @throws WinnowError `invalid_input` with file and field or tensor.
 */
export async function interactionModels(folder: string, kept: KeptType = 'int8'): Promise<InteractionModels> {
  const config = await readSettings(folder);
  const weights = await readWeights(folder);
  const use = { isHeadless: true, isUntyped: await lacksTokenTypes(folder) };
  const open = () => new Checkpoint(folder, config, new Map(weights), use);
  const { model: passage, settings } = passageGraph(open(), kept);
  // Without states of all tokens after the last layer, the first token alone is computed there.
  const isNarrow = settings.pooling === 'cls' && settings.form === 'cosine';
  return { passage: isNarrow ? await narrowModel(passage) : passage, top: topGraph(open(), kept), settings };
}

/**
 * Writes `onnx/passage.onnx` and `onnx/top.onnx` of a folder (see `interactionModels`).
 * @param to Folder that gets them; the same by default.
 * @throws WinnowError `invalid_input` with file and field or tensor.
 */
export async function writeInteraction(
  folder: string,
  to = folder,
  kept: KeptType = 'int8',
): Promise<InteractionSettings> {
  const { passage, top, settings } = await interactionModels(folder, kept);
  await mkdir(join(to, 'onnx'), { recursive: true });
  await writeModel(join(to, PASSAGE_FILE), passage, { insideLimit: MAPPED });
  await writeModel(join(to, TOP_FILE), top, { insideLimit: MAPPED });
  return settings;
}
