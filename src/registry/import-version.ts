import type { Manifest, SelfTest } from './manifest.ts';
import { type Published, type PublishOptions, publish } from './publish-version.ts';
import { type AdmissionDeps, type Inspected, inspect, prove } from './version-admission.ts';
import { chooseGraph, sha256Of } from './version-folder.ts';
import { PROBE_PAIRS, scorePairs, TOLERANCE } from './version-self-test.ts';

type Pair = Pick<SelfTest['pairs'][number], 'query' | 'passage'>;

interface VariantScores {
  readonly variant: string;
  /** One score a pair. */
  readonly scores: Float32Array;
}

async function inspectVariant(
  { version }: Inspected,
  variant: Inspected['graph']['variant'],
  deps: AdmissionDeps,
): Promise<Inspected> {
  const graph = await chooseGraph(version, variant.name, deps.pool.provider);
  return { version, graph, sha256: await sha256Of(version, variant.file) };
}

async function proveVariant(inspected: Inspected, deps: AdmissionDeps, pairs: readonly Pair[]): Promise<VariantScores> {
  const { folder, maxLength } = inspected.version;
  const variant = inspected.graph.variant.name;
  const key = `${folder}@${variant}`;
  await prove({ name: folder, version: variant, key, folder }, inspected, deps);
  try {
    const tokenizer = await deps.tokenizers.for(folder);
    try {
      return { variant, scores: await scorePairs({ pool: deps.pool, key, tokenizer, maxLength }, pairs) };
    } finally {
      await tokenizer.close();
    }
  } finally {
    await deps.pool.unload(key);
  }
}

/**
 * Runs a folder through full admission on the given hosts: every hash, and the model itself in every variant (or the one that
 * `deps.variant` names). Nothing stays loaded.
 * @param skip Relative paths that belong to other versions.
 * @returns The scores of the manifest's self-test pairs, or of the built-in ones.
 * @throws WinnowError whatever admission refuses it for.
 */
export async function verifyFolder(
  folder: string,
  deps: AdmissionDeps,
  skip: ReadonlySet<string> = new Set(),
): Promise<{
  readonly inspected: Inspected;
  readonly pairs: readonly Pair[];
  readonly results: readonly VariantScores[];
}> {
  const inspected = await inspect({ folder, skip }, { ...deps, provider: deps.pool.provider }, true);
  const { manifest, variants } = inspected.version;
  const pairs = manifest?.selfTest?.pairs ?? PROBE_PAIRS;
  const isWanted = (name: string) => (deps.variant ?? 'auto') === 'auto' || deps.variant === name;
  const results: VariantScores[] = [];
  for (const variant of variants.filter((v) => isWanted(v.name)))
    results.push(await proveVariant(await inspectVariant(inspected, variant, deps), deps, pairs));
  return { inspected, pairs, results };
}

/**
 * Runs every variant of a folder through admission and writes down what was found: how the model is to be served, and what it scores, so that
 * a later admission can compare. What a manifest says already is held to, and kept.
 * @throws WinnowError whatever admission refuses it for.
 */
export async function describeExport(folder: string, deps: AdmissionDeps): Promise<Partial<Manifest>> {
  const { inspected, pairs, results } = await verifyFolder(folder, { ...deps, variant: 'auto' });
  const { version, graph } = inspected;
  const measured = {
    tolerance: Math.max(...results.map(({ variant }) => TOLERANCE[variant]!)),
    pairs: pairs.map(({ query, passage }, i) => ({
      query,
      passage,
      scores: Object.fromEntries(results.map(({ variant, scores }) => [variant, scores[i]!])),
    })),
  };
  return {
    activation: version.activation,
    maxLength: version.maxLength,
    reduction: graph.reduction,
    selfTest: version.manifest?.selfTest ?? measured,
  };
}

/**
 * Takes a Hugging Face export into the registry: admission of every variant, self-test pairs written down, hashes, next version.
 * @throws WinnowError whatever admission refuses it for; nothing is left behind then.
 */
export async function importFolder(
  source: string,
  registryFolder: string,
  name: string,
  deps: AdmissionDeps,
  options: PublishOptions = {},
): Promise<Published> {
  const described = await describeExport(source, deps);
  return publish(source, registryFolder, name, { ...options, manifest: { ...options.manifest, ...described } });
}
