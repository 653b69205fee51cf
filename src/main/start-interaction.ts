import { copyFile, mkdir, realpath, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { poolingIn, startFrom } from '../onnx/interaction/from-encoder.ts';
import { writeSafetensors } from '../onnx/safetensors.ts';
import { DEFAULT_LIMITS, listFiles } from '../registry/folder-files.ts';
import { type Imported, importFolder } from '../registry/import-version.ts';
import { MANIFEST_FILE, readManifest } from '../registry/manifest.ts';
import { foundEncoder, statedEncoder } from '../registry/side-encoder.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import { temporaryFolder } from '../util/files.ts';

/** What an interaction model is started with. */
interface StartOptions {
  /** Layers in which the query looks at the passage. */
  readonly top: number;
  /** Layers after which the passage's states are kept; all by default. */
  readonly states?: number | undefined;
  /** Where the folder has no modules.json. */
  readonly pooling?: 'mean' | 'cls' | undefined;
  readonly label?: string | undefined;
}

/** Files of a tokenizer, and what the model is known by. */
const COPIED =
  /^(tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.txt|vocab\.json|merges\.txt|spm\.model|sentence_bert_config\.json|LICENSE|README\.md)$/;

/**
 * Imports an interaction model that was not trained: it scores as the bi-encoder in `folder` does, by its cosines, at the cost of a trained one.
 * @throws WinnowError `invalid_input`, `invalid_manifest` for a folder that is no bi-encoder of a known family; those of admission.
 */
export async function startInteraction(
  folder: string,
  registryFolder: string,
  name: string,
  deps: AdmissionDeps,
  { top, states, pooling, label }: StartOptions,
): Promise<Imported> {
  const source = await realpath(folder);
  const files = await listFiles(source, DEFAULT_LIMITS);
  const paths = new Set(files.map(({ path }) => path));
  const manifest = paths.has(MANIFEST_FILE) ? await readManifest(source) : undefined;
  const listed = { folder: source, paths, limits: DEFAULT_LIMITS };
  const encoder =
    statedEncoder(manifest, MANIFEST_FILE) ?? (await foundEncoder(listed, manifest, [name, basename(source)]));
  const mode = pooling ?? (await poolingIn(source));
  if (!encoder || mode === undefined)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'a bi-encoder: a folder of sentence-transformers with modules.json, or a version of one and --pooling',
      got: encoder ? 'no pooling' : 'another model',
    });
  const { queryPrefix, passagePrefix } = encoder;
  const { config, weights } = await startFrom(source, {
    top,
    pooling: mode,
    queryPrefix,
    passagePrefix,
    ...(states === undefined ? {} : { states }),
  });
  await using temporary = await temporaryFolder('interaction');
  const at = join(temporary.path, basename(name));
  await mkdir(at);
  for (const path of paths) if (COPIED.test(path)) await copyFile(join(source, path), join(at, path));
  await writeFile(join(at, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await writeSafetensors(join(at, 'model.safetensors'), new Map(weights), { format: 'pt' });
  return await importFolder(at, registryFolder, name, deps, { label });
}
