import { type AdmissionDeps, type Inspected, inspect, prove } from './admission.ts';
import type { SelfTest } from './manifest.ts';
import { type Published, type PublishOptions, publish } from './publish.ts';
import { PROBE_PAIRS, scorePairs, TOLERANCE } from './self-test.ts';
import { chooseGraph, readVersionFolder, sha256Of, verifyHashes } from './version-folder.ts';

const FIELD = { name: 'import', version: '0' } as const;

async function inspectVariant(inspected: Inspected, variant: Inspected['graph']['variant']): Promise<Inspected> {
  const graph = await chooseGraph(inspected.version, variant.name, 'cpu');
  return { version: inspected.version, graph, sha256: await sha256Of(inspected.version, variant.file) };
}

/** Runs admission for one variant; with pairs to record, their scores come back. */
async function proveVariant(
  inspected: Inspected,
  deps: AdmissionDeps,
  pairs: readonly { readonly query: string; readonly passage: string }[],
): Promise<Float32Array> {
  const { folder, maxLength } = inspected.version;
  const key = `${FIELD.name}@${inspected.graph.variant.name}`;
  await prove({ ...FIELD, key, folder }, inspected, deps);
  const tokenizer = await deps.tokenizers.for(folder);
  try {
    return await scorePairs({ pool: deps.pool, key, tokenizer, maxLength }, pairs);
  } finally {
    await tokenizer.close();
    await deps.pool.unload(key);
  }
}

/**
 * Runs every variant of a folder through admission and records what it scores: the self-test a later admission compares with. A self-test
 * that is there already is held to, and kept.
 * @throws WinnowError whatever admission refuses it for.
 */
export async function recordSelfTest(folder: string, deps: AdmissionDeps): Promise<SelfTest> {
  const first = await inspect({ folder }, { ...deps, variant: 'auto', provider: deps.pool.provider }, true);
  const given = first.version.manifest?.selfTest;
  const texts = given?.pairs ?? PROBE_PAIRS;
  const pairs = texts.map(({ query, passage }) => ({ query, passage, scores: {} as Record<string, number> }));
  for (const variant of first.version.variants) {
    const scores = await proveVariant(await inspectVariant(first, variant), deps, texts);
    pairs.forEach((pair, i) => {
      pair.scores[variant.name] = scores[i]!;
    });
  }
  const tolerance = Math.max(...first.version.variants.map((v) => TOLERANCE[v.name]!));
  return given ?? { tolerance, pairs };
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
  const selfTest = await recordSelfTest(source, deps);
  return publish(source, registryFolder, name, { ...options, manifest: { ...options.manifest, selfTest } });
}

/** Checks every hash of a folder without an engine. @throws WinnowError `invalid_manifest`, `unsafe_path`, `hash_mismatch`. */
export async function verifyFiles(folder: string): Promise<void> {
  await verifyHashes(await readVersionFolder(folder));
}
