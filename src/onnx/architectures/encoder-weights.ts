import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { WEIGHT_FILES } from '../../util/weight-files.ts';
import { consumers } from '../graph.ts';
import { readModel } from '../model-file.ts';
import { type Prepared, prepare } from '../prepare.ts';
import type { Tensor } from '../tensor.ts';
import { readWeights } from './checkpoint.ts';
import { transposed } from './parts.ts';
import { MODEL_FILES } from './whole-model.ts';

/*
 * The weights of an encoder under PyTorch's names and in its layout, also where a folder has an ONNX export alone: exporters store the matrix of
 * a linear layer as [in, out] under a generated name, and `findWeights` knows its own from the bias beside it or the path of its node.
 */

/** The weight that every encoder has; what stands before it is the path of the encoder in the exported module, such as `model.0.auto_model.`. */
const WORDS = 'embeddings.word_embeddings.weight';

/** Returns the weights of an export in PyTorch's layout, named from the encoder on: those of linear layers are [out, in]. */
function exportedWeights({ model, weights }: Prepared): Map<string, Tensor> {
  const read = consumers(model.graph);
  const table = weights.find(({ name }) => name.endsWith(WORDS))?.name ?? WORDS;
  const prefix = table.slice(0, -WORDS.length);
  return new Map(
    weights.map(({ tensor, name: path, dims }) => {
      const name = path.startsWith(prefix) ? path.slice(prefix.length) : path;
      const value = model.graph.initializers.get(tensor)!;
      const isProduct = (read.get(tensor) ?? []).some((node) => node.op === 'MatMul' && node.inputs[1] === tensor);
      return [name, dims.length === 2 && isProduct ? transposed(value) : value] as const;
    }),
  );
}

/**
 * Reads the weights of an encoder's folder: `model.safetensors` or `pytorch_model.bin`, else those of its ONNX export.
 * @throws WinnowError `invalid_input` for a folder with neither, and what readers of weights throw.
 */
export async function readEncoderWeights(folder: string): Promise<Map<string, Tensor>> {
  if (WEIGHT_FILES.some((file) => existsSync(join(folder, file)))) return readWeights(folder);
  const file = MODEL_FILES.find((name) => existsSync(join(folder, name)));
  if (file !== undefined) return exportedWeights(await prepare(await readModel(join(folder, file))));
  throw new WinnowError('invalid_input', {
    where: folder,
    expected: `one of ${[...WEIGHT_FILES, ...MODEL_FILES].join(', ')}`,
    got: 'none of them',
  });
}
