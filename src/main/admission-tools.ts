import { WinnowError } from '../errors.ts';
import type { ProviderSetting } from '../inference/inference-types.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import type { VariantPreference } from '../registry/version-variants.ts';

interface AdmissionSettings {
  readonly provider: ProviderSetting;
  readonly variant?: VariantPreference | undefined;
}

/** Runs `work` with one inference host and local tokenizers, which are loaded here, and ends the host. */
export async function withAdmissionTools<T>(
  { provider, variant = 'auto' }: AdmissionSettings,
  work: (deps: AdmissionDeps) => Promise<T>,
): Promise<T> {
  const { createHostPool } = await import('../inference/host-pool.ts');
  const { createLocalTokenizer } = await import('../tokenization/local.ts');
  const pool = await createHostPool({ provider, hosts: 1 });
  try {
    return await work({
      pool,
      tokenizers: { for: (folder: string) => createLocalTokenizer(folder) },
      variant,
      writeGraph,
    });
  } finally {
    await pool.close();
  }
}

/**
 * Writes the ONNX file of a folder that has weights, or modules after its encoder. The head of a language model becomes the difference of two
 * answers' logits.
 * @param names Names that the model is known by beside its folder's.
 * @throws WinnowError `invalid_input`, `invalid_graph` for a folder whose graph cannot be built, and for one without a classification head.
 */
export async function writeGraph(folder: string, file: string, names: readonly string[] = []): Promise<void> {
  const { readWholeModel } = await import('../onnx/architectures/whole-model.ts');
  const { writeModel } = await import('../onnx/model-file.ts');
  const { answerIds } = await import('../tokenization/answer-tokens.ts');
  const model = await readWholeModel(folder, await answerIds(folder, names));
  const [output] = model.graph.outputs;
  if (output?.name !== 'logits')
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'weights of a classification head, which gives scores (train one: `backbone` of a recipe)',
      got: 'an encoder without it',
    });
  await writeModel(file, model);
}
