import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { PoolingMode, VectorForm } from '../../util/pooling-modes.ts';
import { WEIGHT_FILES } from '../../util/weight-files.ts';
import type { Model } from '../graph.ts';
import { readModel } from '../model-file.ts';
import { encoderFromWeights, fromSafetensors, isKnownFamily } from './architectures.ts';
import type { Answers } from './checkpoint.ts';
import { appendModules } from './modular.ts';
import { VECTOR } from './module-kinds.ts';
import { ownVectors, readModules, withPooling } from './modules.ts';
import { statedModules } from './stated-modules.ts';
import { lacksTokenTypes, withoutTokenTypes } from './token-types.ts';

/** ONNX files with float32 weights, in the order of preference. */
export const MODEL_FILES = ['onnx/model.onnx', 'model.onnx', 'onnx/model_fp32.onnx'];

/**
 * Reads the model of a folder in Hugging Face layout: its ONNX file; without one, the graph of its weights. Modules of a cross-encoder that
 * the ONNX file does not compute are appended; where the graph of the weights can be built, that comes first.
 * @param findAnswers Returns those of `fromSafetensors`; called where no module names them.
 * @param sides As of `fromSafetensors`.
 * @param vectors Of a bi-encoder without modules.
 * @throws WinnowError `invalid_input` for a folder without a model, and what `fromSafetensors` throws.
 */
export async function readWholeModel(
  folder: string,
  findAnswers: () => Promise<Answers | undefined> = async () => undefined,
  sides = false,
  vectors?: VectorForm,
): Promise<Model> {
  const exported = MODEL_FILES.find((file) => existsSync(join(folder, file)));
  const hasWeights = WEIGHT_FILES.some((file) => existsSync(join(folder, file)));
  if (exported === undefined && !hasWeights) throw await nothingIn(folder);
  if (vectors) return withVectors(folder, exported, vectors);
  const modules = await readModules(folder, sides);
  if (exported === undefined || (modules && hasWeights && (await isKnownFamily(folder))))
    return fromSafetensors(folder, modules?.answers ?? (await findAnswers()), sides);
  if (modules?.answers)
    throw new WinnowError('invalid_input', {
      where: join(folder, exported),
      expected: `weights of a language model in one of ${WEIGHT_FILES.join(', ')}, whose head is narrowed to its answers`,
      got: 'an ONNX file alone',
    });
  const model = await readModel(join(folder, exported));
  const isWhole = model.graph.outputs.some(({ name }) => name === 'logits') && modules?.encoder.output !== 'logits';
  if (!modules || isWhole) return model;
  const isUntyped = await lacksTokenTypes(folder);
  return appendModules(isUntyped ? withoutTokenTypes(model) : model, modules);
}

/**
 * Reads a sentence encoder in Hugging Face layout as a model whose only output is `sentence_embedding`, [batch, width]: the modules of the
 * folder; without them its own vectors, else the mean of its tokens' states, of length 1.
 * @param pooling How states become a vector, in place of what the folder says.
 * @param hasVectors Whether an output `sentence_embedding` is what is compared, as in versions of a registry; else its length becomes 1.
 * @throws WinnowError `invalid_input` for a folder without a model, with a cross-encoder's modules, or without states.
 */
export async function readSideEncoder(folder: string, pooling?: PoolingMode, hasVectors = false): Promise<Model> {
  const modules = existsSync(folder) ? await readModules(folder, true) : undefined;
  if (modules && modules.similarity === undefined)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'a sentence encoder, whose modules make vectors',
      got: 'modules that make scores',
    });
  if (modules && pooling === undefined) return readWholeModel(folder, undefined, true);
  const encoder = await readWholeModel(folder);
  const outputs = encoder.graph.outputs.map(({ name }) => name);
  const isOwn = pooling === undefined && outputs.includes(VECTOR);
  if (isOwn && hasVectors) return encoder;
  const typed = (await lacksTokenTypes(folder)) ? withoutTokenTypes(encoder) : encoder;
  return appendModules(typed, isOwn ? ownVectors(folder) : withPooling(folder, pooling ?? 'mean', modules));
}

/** Returns the model of a bi-encoder without modules: its ONNX file, else the graph of its weights, with the pooling that is stated. */
async function withVectors(folder: string, exported: string | undefined, vectors: VectorForm): Promise<Model> {
  const encoder = exported === undefined ? await encoderFromWeights(folder) : await readModel(join(folder, exported));
  const outputs = encoder.graph.outputs.map(({ name }) => name);
  const model = (await lacksTokenTypes(folder)) ? withoutTokenTypes(encoder) : encoder;
  return appendModules(model, statedModules(folder, vectors, outputs));
}

async function nothingIn(folder: string): Promise<WinnowError> {
  return new WinnowError('invalid_input', {
    where: folder,
    expected: `one of ${MODEL_FILES.join(', ')} or ${WEIGHT_FILES.join(', ')}`,
    got: existsSync(folder) ? (await readdir(folder)).join(', ') || 'an empty folder' : 'no such folder',
  });
}
