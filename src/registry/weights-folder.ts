import { constants, copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { withTemporary } from '../util/files.ts';
import type { FoundTemplate } from '../util/known-templates.ts';
import type { PoolingMode, VectorForm } from '../util/pooling-modes.ts';
import { WEIGHT_FILES } from '../util/weight-files.ts';
import {
  checkJson,
  DEFAULT_LIMITS,
  type FolderFile,
  type FolderLimits,
  listFiles,
  readOptionalObject,
} from './folder-files.ts';
import { interactionManifest, isInteraction, statedInteraction } from './interaction.ts';
import {
  MANIFEST_FILE,
  MANIFEST_FORMAT,
  type Manifest,
  parseManifest,
  readManifest,
  writeManifest,
} from './manifest.ts';
import { excerpt } from './model-names.ts';
import { FOREIGN_WEIGHTS } from './publish-version.ts';
import type { SideEncoder } from './registry-types.ts';
import { listModules, MODULES } from './sentence-transformers.ts';
import { encoderManifest, foundEncoder } from './side-encoder.ts';
import type { AdmissionDeps } from './version-admission.ts';
import { checkTextFiles, readSettings } from './version-folder.ts';
import { templateManifest, templateWarning } from './version-template.ts';

const BUILT = 'onnx/model.onnx';

/**
 * Checks, before weights are read, that the files are safe to parse and ask for nothing that a graph of the weights lacks.
 * @param isModule Whether a file belongs to modules, which the graph computes.
 * @returns What the folder says of its template, or the fields of a manifest that state a bi-encoder or an interaction model.
 */
async function check(
  folder: string,
  files: readonly FolderFile[],
  limits: FolderLimits,
  manifest: Manifest | undefined,
  names: readonly string[],
  isModule: (path: string) => boolean,
): Promise<{ readonly template: FoundTemplate | undefined; readonly stated: Partial<Manifest> | undefined }> {
  await checkTextFiles(folder, files, limits);
  for (const { path } of files)
    if (isModule(path) && path.includes('/') && path.endsWith('.json'))
      await checkJson(join(folder, path), path, limits.maxJsonBytes, limits.maxJsonDepth);
  const others = files.filter(({ path }) => !isModule(path));
  const listed = { folder, paths: new Set(others.map(({ path }) => path)), limits };
  const config = await readOptionalObject(listed, 'config.json');
  const interaction = statedInteraction(manifest, config, MANIFEST_FILE);
  const encoder: SideEncoder | undefined = interaction ?? (await foundEncoder(listed, manifest, names));
  const { template } = await readSettings(folder, others, limits, manifest, names, encoder);
  if (!encoder) return { template, stated: undefined };
  return { template, stated: interaction ? interactionManifest(interaction) : encoderManifest(encoder) };
}

/** Whether a folder has weights that `writeGraph` reads, and no ONNX file. @throws WinnowError where it has other weights only. */
function needsGraph(paths: readonly string[]): boolean {
  if (paths.some((path) => path.endsWith('.onnx'))) return false;
  if (WEIGHT_FILES.some((file) => paths.includes(file))) return true;
  const others = paths.filter((path) => FOREIGN_WEIGHTS.test(path));
  if (others.length === 0) return false;
  throw new WinnowError('invalid_manifest', {
    file: WEIGHT_FILES[0]!,
    expected: `an ONNX file or one of ${WEIGHT_FILES.join(', ')}`,
    got: excerpt(others.join(', ')),
    field: 'files',
  });
}

/** What flags or settings say of a bi-encoder, before its model.json. */
export type SideStatement = Pick<
  Manifest,
  'kind' | 'pooling' | 'normalize' | 'queryPrefix' | 'passagePrefix' | 'scale'
>;

/** Returns what flags or settings say of a bi-encoder; undefined where they say nothing. */
export function sideStatement(given: {
  readonly biEncoder?: boolean | undefined;
  readonly pooling?: PoolingMode | undefined;
  readonly queryPrefix?: string | undefined;
  readonly passagePrefix?: string | undefined;
}): SideStatement | undefined {
  const { biEncoder, pooling, queryPrefix, passagePrefix } = given;
  const isStated = biEncoder || pooling !== undefined;
  if (!isStated && queryPrefix === undefined && passagePrefix === undefined) return undefined;
  return { ...(isStated && { kind: 'bi-encoder' as const }), pooling, queryPrefix, passagePrefix };
}

/** Returns the fields that are stated. */
const statedFields = (stated: SideStatement): readonly string[] =>
  Object.entries(stated).flatMap(([field, value]) => (value === undefined ? [] : [field]));

/** Returns a manifest with the fields that are stated; undefined without either. */
function withStatement(manifest: Manifest | undefined, stated: SideStatement): Manifest | undefined {
  const fields = statedFields(stated);
  if (fields.length === 0) return manifest;
  const given = Object.fromEntries(Object.entries(stated).filter(([field]) => fields.includes(field)));
  return parseManifest({ format: MANIFEST_FORMAT, ...manifest, ...given });
}

/** Refuses what is stated of another model than a bi-encoder. */
function refuseStatement(folder: string, stated: SideStatement, got: string): void {
  const fields = statedFields(stated);
  if (fields.length === 0) return;
  const expected = `a folder to which ${fields.join(', ')} can be applied: an encoder with states or vectors`;
  throw new WinnowError('invalid_input', { where: folder, expected, got });
}

/**
 * Returns how a bi-encoder without modules makes its vectors.
 * @returns undefined for other models, and for versions that were published, whose graphs make them.
 */
function vectorForm(manifest: Manifest | undefined): VectorForm | undefined {
  if (manifest?.kind !== 'bi-encoder') return undefined;
  const { pooling, normalize, files } = manifest;
  const isOpen = pooling !== undefined || normalize !== undefined || files === undefined;
  return isOpen ? { pooling, normalize: normalize ?? true } : undefined;
}

/** Refuses a pooling beside modules, which state it. */
function checkModular({ pooling, normalize }: Partial<Manifest> = {}): undefined {
  const field = pooling !== undefined ? 'pooling' : normalize !== undefined ? 'normalize' : undefined;
  if (field === undefined) return undefined;
  const expected = `to be left out beside ${MODULES}, which states it`;
  throw new WinnowError('invalid_manifest', {
    file: MANIFEST_FILE,
    field,
    expected,
    got: String(pooling ?? normalize),
  });
}

/** Whether a file is modules.json or lies in the folder of a module. */
const belongsTo =
  (modules: readonly string[]) =>
  (path: string): boolean =>
    modules.length > 0 && (path === MODULES || modules.some((module) => path.startsWith(`${module}/`)));

/** Whether a file is an ONNX file or its external data. */
const isOnnx = (path: string): boolean => /(^onnx\/|\.onnx$|\.onnx[._]data$)/.test(path);

/** Returns a warning about ONNX files other than the float32 one, which compute the encoder of a modular folder alone. */
function passedOver(paths: readonly string[]): readonly string[] {
  const others = paths.filter((path) => path.endsWith('.onnx') && !/(^|\/)model(_fp32)?\.onnx$/.test(path));
  return others.length === 0
    ? []
    : [`${excerpt(others.join(', '))}: not read; without its modules an encoder has no scores`];
}

/** Copies files that have no weights. */
async function copyPlain(from: string, to: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (FOREIGN_WEIGHTS.test(path) || WEIGHT_FILES.includes(path)) continue;
    await mkdir(dirname(join(to, path)), { recursive: true });
    await copyFile(join(from, path), join(to, path), constants.COPYFILE_FICLONE);
  }
}

/**
 * Runs `work` on a folder whose ONNX file computes the whole model: the given one, or a hidden copy in the registry with the file that
 * `deps.writeGraph` made of its weights and modules. The copy is removed at the end.
 * @param names Names that the model is known by beside its folder's.
 * @param stated Fields of a bi-encoder that count before those of the folder's model.json.
 * @throws WinnowError `invalid_manifest`, `unsafe_path` for files that are not safe, `invalid_input` for what is stated of other models, and what
 * `deps.writeGraph` throws.
 */
export async function withGraph<T>(
  folder: string,
  registryFolder: string,
  { writeGraph, limits = DEFAULT_LIMITS }: Pick<AdmissionDeps, 'writeGraph' | 'limits'>,
  names: readonly string[],
  work: (folder: string, warnings: readonly string[]) => Promise<T>,
  stated: SideStatement = {},
): Promise<T> {
  const files = await listFiles(folder, limits);
  const paths = files.map(({ path }) => path);
  const given = paths.includes(MANIFEST_FILE) ? await readManifest(folder, limits) : undefined;
  const manifest = withStatement(given, stated);
  const listed = { folder, paths: new Set(paths), limits };
  const isWhole = manifest?.wholeGraph || isInteraction(await readOptionalObject(listed, 'config.json'));
  const modules = writeGraph && !isWhole ? await listModules(listed) : [];
  const isModular = modules.length > 0;
  const vectors = isModular ? checkModular(manifest) : vectorForm(manifest);
  if (!writeGraph || !(isModular || vectors || needsGraph(paths))) {
    refuseStatement(folder, stated, 'one whose graph is served as it is');
    return work(folder, []);
  }
  const isModule = belongsTo(modules);
  const { template, stated: found } = await check(folder, files, limits, manifest, names, isModule);
  if (!found) refuseStatement(folder, stated, 'a model of pairs');
  const isAppended = isModular || vectors !== undefined;
  return withTemporary(join(registryFolder, 'import'), async (staging) => {
    // The ONNX files of such a folder compute its encoder alone.
    await copyPlain(folder, staging, isAppended ? paths.filter((path) => !isModule(path) && !isOnnx(path)) : paths);
    await mkdir(dirname(join(staging, BUILT)), { recursive: true });
    const built = await writeGraph(folder, join(staging, BUILT), names, vectors);
    const { pooling: _pooling, normalize: _normalize, ...kept } = manifest ?? {};
    const more = found ?? templateManifest(template, manifest);
    if (template || found) await writeManifest(staging, { format: MANIFEST_FORMAT, ...kept, ...more });
    return work(staging, [...built, ...templateWarning(template), ...(isAppended ? passedOver(paths) : [])]);
  });
}
