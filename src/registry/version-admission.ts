import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import type { HostPool, LoadedModel, LoadSpec, TrialRun } from '../inference/inference-types.ts';
import type { GraphRewriter } from '../inference/rewrite/rewrite-types.ts';
import type { VectorForm } from '../util/pooling-modes.ts';
import { DEFAULT_LIMITS, type FolderLimits } from './folder-files.ts';
import { passageGraphOf, passageKey } from './interaction.ts';
import { excerpt } from './model-names.ts';
import { type Pruning, pruningOf } from './pruning.ts';
import type { SelfTestTokenizer, ServedVersion, Tokenizers } from './registry-types.ts';
import { readVersionFolder, type VersionFolder, verifyHashes } from './version-folder.ts';
import { type ChosenGraph, chooseGraph, servedFiles, servedHashes } from './version-graph.ts';
import { rewriteFor } from './version-rewrite.ts';
import { keepProbes, largestId, runSelfTest, type SelfTestDeps } from './version-self-test.ts';
import { recordName, type VariantPreference } from './version-variants.ts';
import { ownCalibration, warningsAbout } from './version-warnings.ts';

export interface AdmissionDeps {
  readonly pool: HostPool;
  readonly tokenizers: Tokenizers;
  readonly variant?: VariantPreference;
  readonly limits?: FolderLimits;
  /** Rewrites graphs of other tools for the CPU; absent: they are served as exported. */
  readonly rewriter?: GraphRewriter | undefined;
  /**
   * Writes the ONNX file of a folder with weights only, and returns warnings. Without it, imports need an ONNX file.
   * @param names Names that the model is known by beside its folder's.
   * @param vectors Of a bi-encoder without modules.
   */
  readonly writeGraph?: (
    folder: string,
    file: string,
    names: readonly string[],
    vectors?: VectorForm,
  ) => Promise<readonly string[]>;
}

interface Candidate {
  readonly name: string;
  readonly version: string;
  /** Key for the hosts: `name@version`, with a suffix if that key is still in use. */
  readonly key: string;
  readonly folder: string;
  readonly skip?: ReadonlySet<string>;
}

/** A version that passed admission and is loaded on every host. */
export interface Admitted {
  readonly served: ServedVersion;
  /** Path of the ONNX file that is served. */
  readonly file: string;
  readonly loadMs: number;
  /** Memory of all hosts together, in bytes. */
  readonly bytes: number;
}

/** A version whose files passed their checks. Nothing is loaded. */
export interface Inspected {
  readonly version: VersionFolder;
  readonly graph: ChosenGraph;
  readonly sha256: string;
  /** Of all files of the graph, external data included. */
  readonly graphHash: string;
}

/**
 * Checks the files of a version without loading the model: safe paths, sizes, manifest, graph, hashes.
 * @param everyFile Whether all hashes of the manifest are compared, not only those of the files that are served.
 * @throws WinnowError `invalid_manifest`, `unsafe_path`, `hash_mismatch`.
 */
export async function inspectVersion(
  candidate: Pick<Candidate, 'folder' | 'skip'>,
  deps: Pick<AdmissionDeps, 'limits' | 'variant'> & { readonly provider: HostPool['provider'] },
  everyFile = false,
): Promise<Inspected> {
  const version = await readVersionFolder(candidate.folder, deps.limits ?? DEFAULT_LIMITS, candidate.skip);
  const graph = await chooseGraph(version, deps.variant ?? 'auto', deps.provider);
  await verifyHashes(version, everyFile ? undefined : servedFiles(version, graph));
  return { version, graph, ...(await servedHashes(version, graph)) };
}

function servedVersion(
  candidate: Candidate,
  inspected: Inspected,
  pool: HostPool,
  { moved, rewrite, isRewritten, pruning }: Omit<OnHosts, 'loaded'>,
): ServedVersion {
  const { version, graph, sha256, graphHash: hash } = inspected;
  const calibration = ownCalibration(inspected);
  return Object.freeze({
    name: candidate.name,
    version: candidate.version,
    key: candidate.key,
    folder: version.folder,
    maxLength: version.maxLength,
    activation: version.activation,
    reduction: graph.reduction,
    maxQueryTokens: version.manifest?.maxQueryTokens,
    truncation: version.manifest?.truncation ?? (version.template && 'only_second'),
    template: version.template?.template,
    encoder: version.encoder,
    passages: passageGraphOf(candidate.key, graph.variant),
    objective: version.objective,
    variant: graph.variant.name,
    provider: pool.provider,
    sha256,
    graphId: isRewritten ? createHash('sha256').update(`${hash} rewritten`).digest('hex') : hash,
    ...(pruning && { pruning }),
    ...(calibration && { calibration }),
    warnings: warningsAbout(inspected, moved, pool.provider),
    rewrite,
  });
}

function checkLoadedInputs(loaded: LoadedModel, file: string): void {
  if (loaded.inputs.includes('input_ids')) return;
  throw new WinnowError('invalid_graph', { where: file, expected: 'input input_ids', got: loaded.inputs.join(', ') });
}

/** What became of a version on the hosts. */
interface OnHosts {
  readonly loaded: LoadedModel;
  /** How much the score of a pair differed between batches. */
  readonly moved: number;
  readonly rewrite: string | undefined;
  /** Whether another graph than the exported one is loaded. */
  readonly isRewritten: boolean;
  readonly pruning: Pruning | undefined;
}

/** Returns how a version prunes, if it was calibrated with the file that is served. */
function ownPruning({ version: { manifest }, sha256 }: Inspected, spec: LoadSpec, pool: HostPool): Pruning | undefined {
  const facts = manifest?.pruning;
  return facts?.sha256 === sha256 ? pruningOf(facts, spec, (early) => pool.load(early)) : undefined;
}

/** Loads the rewritten graph of a version, or the one as exported where there is none or the hosts refuse it. */
async function loadOnHosts(
  candidate: Candidate,
  inspected: Inspected,
  deps: AdmissionDeps,
  tokenizer: SelfTestTokenizer,
): Promise<OnHosts> {
  const { file, note: rewrite } = (await rewriteFor(inspected, tokenizer, deps)) ?? {};
  const exported = async (note: string | undefined): Promise<OnHosts> => {
    const loaded = await loadFile(candidate, inspected, deps, tokenizer);
    return { ...loaded, rewrite: note, isRewritten: false };
  };
  if (file === undefined) return exported(rewrite);
  try {
    return { ...(await loadFile(candidate, inspected, deps, tokenizer, file)), rewrite, isRewritten: true };
  } catch (error) {
    return exported(`served as exported: the rewritten graph was refused (${(error as Error).message})`);
  }
}

async function loadFile(
  candidate: Candidate,
  inspected: Inspected,
  deps: AdmissionDeps,
  tokenizer: SelfTestTokenizer,
  rewritten?: string,
): Promise<Omit<OnHosts, 'rewrite' | 'isRewritten'>> {
  const { version, graph } = inspected;
  const { pool } = deps;
  const { key } = candidate;
  const { maxLength, firstPosition, manifest } = version;
  const exported = join(version.folder, graph.variant.file);
  const spec = {
    key,
    file: rewritten ?? exported,
    exported,
    padId: tokenizer.padId,
    firstPosition,
    maxLength,
  };
  const whole = { ...spec, reduction: graph.reduction };
  const { encoder, isInteraction } = version;
  const tested = { key, tokenizer, limits: { ...manifest, maxLength }, encoder, isInteraction };
  let moved = 0;
  const test = async (on: Pick<HostPool, 'run'>) => {
    moved = await runSelfTest({ ...tested, pool: on }, recordName(graph.variant), manifest?.selfTest);
  };
  const passages = await loadPassages(inspected, spec, pool, tested);
  try {
    const loaded = await loadTested(whole, graph.variant.file, pool, test);
    const [bytes, loadMs] = [passages?.bytes ?? 0, passages?.loadMs ?? 0];
    const both = { ...loaded, bytes: loaded.bytes + bytes, loadMs: loaded.loadMs + loadMs };
    return { loaded: both, moved, pruning: ownPruning(inspected, whole, pool) };
  } catch (error) {
    if (passages) await pool.unload(passages.key).catch(() => undefined);
    throw error;
  }
}

/** Loads a graph that passes `test`. What serves is not touched before it has shown that it loads and computes. */
async function loadTested(
  spec: LoadSpec,
  file: string,
  pool: HostPool,
  test: (on: Pick<HostPool, 'run'>) => Promise<void>,
): Promise<LoadedModel> {
  const onTrial = (run: TrialRun): Pick<HostPool, 'run'> => ({
    run: (key, rows) => (key === spec.key ? run(rows) : pool.run(key, rows)),
  });
  const tried = (await pool.trial?.(spec, (run) => test(onTrial(run)))) ?? false;
  const loaded = await pool.load(spec);
  try {
    checkLoadedInputs(loaded, file);
    if (!tried) await test(pool);
    return loaded;
  } catch (error) {
    await pool.unload(spec.key).catch(() => undefined);
    throw error;
  }
}

/** Loads the graph of passages of an interaction model, after it has shown on a spare host that it computes; undefined for other kinds. */
async function loadPassages(
  { version, graph }: Inspected,
  spec: Omit<LoadSpec, 'reduction'>,
  pool: HostPool,
  tested: Omit<SelfTestDeps, 'pool'>,
): Promise<LoadedModel | undefined> {
  const { passages } = graph.variant;
  if (passages === undefined) return undefined;
  const file = join(version.folder, passages);
  const own = { ...spec, key: passageKey(spec.key), file, exported: file, reduction: { kind: 'kept' } } as const;
  const probe = async (run: TrialRun) =>
    void (await keepProbes({ ...tested, pool: { run: (_key, rows) => run(rows) } }));
  await pool.trial?.(own, probe);
  return pool.load(own);
}

/** Names the cause of a failed self-test where the tokenizer has more tokens than config.json says; returns other errors as they are. */
async function explained(error: unknown, version: VersionFolder, tokenizer: SelfTestTokenizer): Promise<unknown> {
  const { vocab_size: size } = version.config;
  if (!(error instanceof WinnowError) || error.code !== 'inference_failed' || typeof size !== 'number') return error;
  const { maxLength, manifest } = version;
  const largest = await largestId(tokenizer, { ...manifest, maxLength }).catch(() => 0);
  if (largest < size) return error;
  const tokens = `expected tokens below ${size}, got ${largest} of the tokenizer (${excerpt(error.message)})`;
  return new WinnowError('inference_failed', { reason: `config.json: vocab_size: ${tokens}` }, { cause: error });
}

/** Opens a tokenizer; turns errors that are no WinnowError into `invalid_manifest`. */
async function openTokenizer(tokenizers: Tokenizers, folder: string): Promise<SelfTestTokenizer> {
  try {
    return await tokenizers.for(folder);
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw new WinnowError(
      'invalid_manifest',
      { file: 'tokenizer.json', expected: 'a tokenizer that opens', got: (error as Error).message, field: 'tokenizer' },
      { cause: error },
    );
  }
}

/**
 * Loads an inspected version on every host and runs its self-test. Leaves nothing loaded when it throws.
 * @throws WinnowError `invalid_graph`, `not_a_number`, and those of hosts and tokenizers.
 */
export async function loadAndTest(candidate: Candidate, inspected: Inspected, deps: AdmissionDeps): Promise<Admitted> {
  const tokenizer = await openTokenizer(deps.tokenizers, inspected.version.folder);
  try {
    const { loaded, ...found } = await loadOnHosts(candidate, inspected, deps, tokenizer).catch(
      async (error: unknown) => {
        throw await explained(error, inspected.version, tokenizer);
      },
    );
    const each = loaded.bytes > 0 ? loaded.bytes : inspected.graph.bytes;
    return {
      served: servedVersion(candidate, inspected, deps.pool, found),
      file: join(inspected.version.folder, inspected.graph.variant.file),
      loadMs: loaded.loadMs,
      bytes: each * deps.pool.size,
    };
  } finally {
    await tokenizer.close();
  }
}
