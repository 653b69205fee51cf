import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { withTemporary } from '../util/files.ts';
import { namesIn } from '../util/known-templates.ts';
import { DEFAULT_LIMITS, type FolderLimits } from './folder-files.ts';
import { copySnapshot, findSnapshot } from './hub-cache.ts';
import { interactionManifest } from './interaction.ts';
import type { Manifest, SelfTest } from './manifest.ts';
import { type Published, type PublishOptions, publish } from './publish-version.ts';
import { type AdmissionDeps, type Inspected, inspectVersion, loadAndTest } from './version-admission.ts';
import { chooseGraph, servedHashes } from './version-graph.ts';
import { PROBE_PAIRS, scorePairs, TOLERANCE, toleranceFor } from './version-self-test.ts';
import { templateManifest } from './version-template.ts';
import { recordName } from './version-variants.ts';
import { type SideStatement, withGraph } from './weights-folder.ts';

type Pair = Pick<SelfTest['pairs'][number], 'query' | 'passage'>;

interface VariantScores {
  readonly variant: string;
  /** The name of the scores in a self-test. */
  readonly recorded: string;
  /** One score for each pair. */
  readonly scores: Float32Array;
  /** Those of `ServedVersion`. */
  readonly warnings: readonly string[];
}

async function inspectVariant(
  { version }: Inspected,
  variant: Inspected['graph']['variant'],
  deps: AdmissionDeps,
): Promise<Inspected> {
  const graph = await chooseGraph(version, variant.name, deps.pool.provider);
  return { version, graph, ...(await servedHashes(version, graph)) };
}

async function scoreVariant(inspected: Inspected, deps: AdmissionDeps, pairs: readonly Pair[]): Promise<VariantScores> {
  const { folder, manifest, maxLength, encoder, isInteraction } = inspected.version;
  const variant = inspected.graph.variant.name;
  const key = `${folder}@${variant}`;
  const { served } = await loadAndTest({ name: folder, version: variant, key, folder }, inspected, deps);
  const { passages } = served;
  try {
    const tokenizer = await deps.tokenizers.for(folder);
    try {
      const limits = { ...manifest, maxLength };
      const tested = { pool: deps.pool, key, tokenizer, limits, encoder, isInteraction };
      const scores = await scorePairs(tested, pairs);
      const recorded = recordName(inspected.graph.variant);
      return { variant, recorded, scores, warnings: served.warnings };
    } finally {
      await tokenizer.close();
    }
  } finally {
    await deps.pool.unload(key);
    if (passages) await deps.pool.unload(passages.key);
  }
}

/**
 * Runs full admission of a folder on the given hosts: every hash, and every variant (or only `deps.variant`). Nothing stays loaded.
 * @param skip Relative paths that belong to other versions.
 * @returns The scores of the manifest's self-test pairs, or of the built-in ones.
 * @throws WinnowError of admission.
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
  const inspected = await inspectVersion({ folder, skip }, { ...deps, provider: deps.pool.provider }, true);
  const { manifest, variants } = inspected.version;
  const pairs = manifest?.selfTest?.pairs ?? PROBE_PAIRS;
  const isWanted = (name: string) => (deps.variant ?? 'auto') === 'auto' || deps.variant === name;
  const results: VariantScores[] = [];
  for (const variant of variants.filter((v) => isWanted(v.name)))
    results.push(await scoreVariant(await inspectVariant(inspected, variant, deps), deps, pairs));
  return { inspected, pairs, results };
}

/** Returns the warnings about the variants of a folder, each once. */
export const warningsOf = (results: readonly Pick<VariantScores, 'warnings'>[]): readonly string[] => [
  ...new Set(results.flatMap(({ warnings }) => warnings)),
];

/** The manifest fields of an export, and the warnings of admission. */
interface Description {
  readonly manifest: Partial<Manifest>;
  readonly warnings: readonly string[];
}

/**
 * Runs admission of every variant of a folder and returns the manifest fields found: how the model is served, and its scores, which later
 * admissions are compared with. Fields of an existing manifest are checked and kept.
 * @throws WinnowError of admission.
 */
export async function describeExport(folder: string, deps: AdmissionDeps): Promise<Description> {
  const { inspected, pairs, results } = await verifyFolder(folder, { ...deps, variant: 'auto' });
  const { version, graph } = inspected;
  const measured = {
    tolerance: toleranceFor(
      Math.max(...results.map(({ variant }) => TOLERANCE[variant]!)),
      version.encoder,
      results.flatMap(({ scores }) => [...scores]),
    ),
    pairs: pairs.map(({ query, passage }, i) => ({
      query,
      passage,
      scores: Object.fromEntries(results.map(({ recorded, scores }) => [recorded, scores[i]!])),
    })),
  };
  const manifest = {
    activation: version.activation,
    maxLength: version.maxLength,
    ...(graph.reduction.kind !== 'vector' && graph.reduction.kind !== 'kept' && { reduction: graph.reduction }),
    ...(version.isInteraction && interactionManifest(version.encoder)),
    ...(version.manifest?.template === undefined && templateManifest(version.template, version.manifest)),
    selfTest: version.manifest?.selfTest ?? measured,
  };
  return { manifest, warnings: warningsOf(results) };
}

export interface ImportOptions extends PublishOptions {
  /** What is stated of a bi-encoder, before its model.json. */
  readonly sides?: SideStatement | undefined;
}

/** A version that was imported. */
export interface Imported extends Published {
  readonly warnings: readonly string[];
}

/** Runs `work` on the plain files that a path means; a snapshot of the hub's cache is written to a hidden folder of the registry first. */
async function withPlainFolder<T>(
  source: string,
  registryFolder: string,
  work: (folder: string, origin: string | undefined) => Promise<T>,
  limits: FolderLimits,
): Promise<T> {
  const resolved = await realpath(source).catch(() => source);
  const snapshot = await findSnapshot(resolved);
  if (!snapshot) return work(resolved, undefined);
  return withTemporary(join(registryFolder, 'import'), async (staging) => {
    await copySnapshot(snapshot, staging, limits);
    return work(staging, snapshot.origin);
  });
}

/**
 * Imports a model folder as the next version of a model: runs admission of every variant and records self-test pairs and hashes. Where
 * there are weights and no ONNX file, `deps.writeGraph` writes it. Leaves nothing behind when it throws.
 * @param source A folder with plain files, a snapshot of the hub's cache, or a model's part of that cache.
 * @throws WinnowError of admission, and of `deps.writeGraph`.
 */
export async function importFolder(
  source: string,
  registryFolder: string,
  name: string,
  deps: AdmissionDeps,
  { sides, ...options }: ImportOptions = {},
): Promise<Imported> {
  const work = async (folder: string, origin: string | undefined, notes: readonly string[]) => {
    const { manifest, warnings } = await describeExport(folder, deps);
    const from = origin === undefined ? {} : { source: origin };
    const done = await publish(folder, registryFolder, name, {
      ...options,
      manifest: { ...from, ...options.manifest, ...manifest },
    });
    return { ...done, warnings: [...notes, ...warnings] };
  };
  return withPlainFolder(
    source,
    registryFolder,
    (folder, origin) => {
      const origins = [origin, options.manifest?.source].filter((text) => text !== undefined);
      const names = [name, ...namesIn(source), ...origins];
      return withGraph(folder, registryFolder, deps, names, (complete, notes) => work(complete, origin, notes), sides);
    },
    deps.limits ?? DEFAULT_LIMITS,
  );
}
