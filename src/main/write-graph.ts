import { dirname } from 'node:path';
import { WinnowError } from '../errors.ts';
import { isHalf, leftOutOf } from '../onnx/architectures/architectures.ts';
import { VECTOR } from '../onnx/architectures/module-kinds.ts';
import { readWholeModel } from '../onnx/architectures/whole-model.ts';
import { isInteractionFolder, writeInteraction } from '../onnx/interaction/write-interaction.ts';
import { writeServed } from '../onnx/write-served.ts';
import { answerIds } from '../tokenization/answer-tokens.ts';
import type { VectorForm } from '../util/pooling-modes.ts';
import { writeHalf } from './half-file.ts';

/**
 * Writes the ONNX file of a folder that has weights, or modules after its encoder; both files of an interaction model. The head of a language model
 * becomes the difference of two answers' logits.
 * @param names Names that the model is known by beside its folder's.
 * @param vectors Of a bi-encoder without modules.
 * @param onGpu Whether a file in half precision is written too, where the weights are.
 * @returns Warnings: tensors that were left out, a file in half precision that was not written.
 * @throws WinnowError `invalid_input`, `invalid_graph` for a folder whose graph cannot be built, and for one without a classification head.
 */
export async function writeGraph(
  folder: string,
  file: string,
  names: readonly string[] = [],
  vectors?: VectorForm,
  onGpu = false,
): Promise<readonly string[]> {
  if (await isInteractionFolder(folder)) {
    // `file` lies in the folder of ONNX files.
    await writeInteraction(folder, dirname(dirname(file)));
    return [];
  }
  const model = await readWholeModel(folder, () => answerIds(folder, names), true, vectors);
  const [output] = model.graph.outputs;
  if (output?.name !== 'logits' && output?.name !== VECTOR)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected:
        'weights of a classification head, which gives scores (train one: `backbone` of a recipe), or modules of a bi-encoder',
      got: 'an encoder without it',
    });
  await writeServed(file, model);
  const leftOut = leftOutOf(model);
  const warnings = leftOut === undefined ? [] : [`tensors that the scores do not need, left out: ${leftOut}`];
  if (!(onGpu && isHalf(model))) return warnings;
  return [...warnings, ...(await writeHalf(model, file))];
}
