import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkSpace } from '../util/disk-space.ts';
import { temporaryFolder } from '../util/files.ts';
import { InferenceSession } from './engine.ts';
import type { Model } from './graph.ts';
import { INSIDE_LIMIT, initializerBytes, writeModel } from './model-file.ts';
import { encodeModel } from './protobuf-write.ts';

/**
 * Opens a session of a model in memory. Weights beyond what protobuf can hold are written tensor by tensor to a temporary folder, which the
 * engine maps; it is removed as soon as the session is open.
 * @throws WinnowError `invalid_input` where the folder for temporary files (`TMPDIR`) has no room for them; the engine's error for a bad graph.
 */
export async function openModel(model: Model, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  const bytes = initializerBytes(model);
  if (bytes <= INSIDE_LIMIT) return InferenceSession.create(encodeModel(model), options);
  await checkSpace(tmpdir(), bytes, 'the weights of a model that is too large to be opened from memory (TMPDIR)');
  await using folder = await temporaryFolder('graph');
  const path = join(folder.path, 'model.onnx');
  await writeModel(path, model, { insideLimit: INSIDE_LIMIT });
  return await InferenceSession.create(path, options);
}
