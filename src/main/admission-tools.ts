import type { ProviderSetting } from '../inference/inference-types.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import type { VariantPreference } from '../registry/version-variants.ts';
import { withGraph } from '../registry/weights-folder.ts';
import { once } from '../util/once.ts';
import { writeGraphInChild } from './graph-writer.ts';

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
      writeGraph: (folder, file, names, vectors) =>
        writeGraphInChild({ folder, file, names, vectors, onGpu: pool.provider !== 'cpu' }),
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

/**
 * Runs `work` on a folder with an ONNX file: the given one, or where it has weights only, a copy with the file that is made of them. The copy
 * is removed at the end.
 * @param names Names that the model is known by beside its folder's.
 * @throws WinnowError of `withGraph`.
 */
export const withGraphOf = <T>(
  folder: string,
  registry: string,
  names: readonly string[],
  work: (folder: string, warnings: readonly string[]) => Promise<T>,
): Promise<T> => {
  const writeGraph: AdmissionDeps['writeGraph'] = (from, file, names, vectors) =>
    writeGraphInChild({ folder: from, file, names, vectors, onGpu: false });
  return withGraph(folder, registry, { writeGraph }, names, work);
};

/** Checks the small files of a folder before its weights are loaded from the hub. @throws WinnowError `invalid_input`. */
export async function checkWeights(folder: string): Promise<void> {
  const { checkFamily } = await import('../onnx/architectures/architectures.ts');
  await checkFamily(folder, true);
}
