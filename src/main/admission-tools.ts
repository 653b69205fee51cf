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
    return await work({ pool, tokenizers: { for: (folder: string) => createLocalTokenizer(folder) }, variant });
  } finally {
    await pool.close();
  }
}
