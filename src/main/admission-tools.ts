import { WinnowError } from '../errors.ts';
import type { ProviderSetting } from '../inference/inference-types.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import type { VariantPreference } from '../registry/version-variants.ts';
import { once } from '../util/once.ts';

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
      writeGraph: (folder, file, names) => writeGraph(folder, file, names, pool.provider !== 'cpu'),
    });
  } finally {
    await pool.close();
  }
}

/**
 * Calls `work` with a function that runs imports, and ends their host afterwards. All share one host, which starts with the first of them:
 * where nothing is new, none does.
 */
export async function withSharedTools<T>(
  settings: AdmissionSettings,
  work: (withDeps: <R>(job: (deps: AdmissionDeps) => Promise<R>) => Promise<R>) => Promise<T>,
): Promise<T> {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  let closed: Promise<void> | undefined;
  const open = once(() => {
    const { promise, resolve, reject } = Promise.withResolvers<AdmissionDeps>();
    closed = withAdmissionTools(settings, (deps) => {
      resolve(deps);
      return finished;
    });
    closed.catch(reject);
    return promise;
  });
  try {
    return await work(async (job) => job(await open()));
  } finally {
    finish();
    await closed?.catch(() => undefined);
  }
}

/** Checks the small files of a folder before its weights are loaded from the hub. @throws WinnowError `invalid_input`. */
export async function checkWeights(folder: string): Promise<void> {
  const { checkFamily } = await import('../onnx/architectures/architectures.ts');
  await checkFamily(folder);
}

/**
 * Writes the ONNX file of a folder that has weights, or modules after its encoder. The head of a language model becomes the difference of two
 * answers' logits.
 * @param names Names that the model is known by beside its folder's.
 * @param onGpu Whether a file in half precision is written too, where the weights are.
 * @returns Warnings: tensors that were left out, a file in half precision that was not written.
 * @throws WinnowError `invalid_input`, `invalid_graph` for a folder whose graph cannot be built, and for one without a classification head.
 */
export async function writeGraph(
  folder: string,
  file: string,
  names: readonly string[] = [],
  onGpu = false,
): Promise<readonly string[]> {
  const { isHalf, leftOutOf } = await import('../onnx/architectures/architectures.ts');
  const { readWholeModel } = await import('../onnx/architectures/whole-model.ts');
  const { writeServed } = await import('../onnx/write-served.ts');
  const { answerIds } = await import('../tokenization/answer-tokens.ts');
  const model = await readWholeModel(folder, () => answerIds(folder, names));
  const [output] = model.graph.outputs;
  if (output?.name !== 'logits')
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'weights of a classification head, which gives scores (train one: `backbone` of a recipe)',
      got: 'an encoder without it',
    });
  await writeServed(file, model);
  const leftOut = leftOutOf(model);
  const warnings = leftOut === undefined ? [] : [`tensors that the scores do not need, left out: ${leftOut}`];
  if (!(onGpu && isHalf(model))) return warnings;
  const { writeHalf } = await import('./half-file.ts');
  return [...warnings, ...(await writeHalf(model, file))];
}
