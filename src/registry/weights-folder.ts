import { randomUUID } from 'node:crypto';
import { constants, copyFile, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { DEFAULT_LIMITS, type FolderLimits, listFiles, readJsonObject } from './folder-files.ts';
import { excerpt } from './model-names.ts';
import { FOREIGN_WEIGHTS } from './publish-version.ts';
import { readSentenceTransformers } from './sentence-transformers.ts';
import type { AdmissionDeps } from './version-admission.ts';
import { checkTextFiles } from './version-folder.ts';

const BUILT = 'onnx/model.onnx';
const WEIGHTS = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
];

/** Checks, before weights are read, that the files are safe to parse and ask for nothing that a graph of the weights lacks. */
async function check(folder: string, limits: FolderLimits): Promise<readonly string[]> {
  const files = await listFiles(folder, limits);
  await checkTextFiles(folder, files, limits);
  const read = async (file: string) =>
    files.some(({ path }) => path === file) ? readJsonObject(join(folder, file), file, limits) : {};
  await readSentenceTransformers(folder, files, limits, {
    activation: undefined,
    config: await read('config.json'),
    tokenizerConfig: await read('tokenizer_config.json'),
  });
  return files.map(({ path }) => path);
}

/** Whether a folder has weights that `writeGraph` reads, and no ONNX file. @throws WinnowError where it has other weights only. */
function needsGraph(paths: readonly string[]): boolean {
  if (paths.some((path) => path.endsWith('.onnx'))) return false;
  if (WEIGHTS.some((file) => paths.includes(file))) return true;
  const others = paths.filter((path) => FOREIGN_WEIGHTS.test(path));
  if (others.length === 0) return false;
  throw new WinnowError('invalid_manifest', {
    file: WEIGHTS[0]!,
    expected: `an ONNX file or one of ${WEIGHTS.join(', ')}`,
    got: excerpt(others.join(', ')),
    field: 'files',
  });
}

/**
 * Runs `work` on a folder that has an ONNX file: the given one, or a hidden copy in the registry with the file that `deps.writeGraph` made
 * of its weights. The copy is removed at the end.
 * @throws WinnowError `invalid_manifest`, `unsafe_path` for files that are not safe, and what `deps.writeGraph` throws.
 */
export async function withGraph<T>(
  folder: string,
  registryFolder: string,
  { writeGraph, limits = DEFAULT_LIMITS }: Pick<AdmissionDeps, 'writeGraph' | 'limits'>,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const listed = (await listFiles(folder, limits)).map(({ path }) => path);
  if (!writeGraph || !needsGraph(listed)) return work(folder);
  const paths = await check(folder, limits);
  const staging = join(registryFolder, `.import-${randomUUID()}`);
  try {
    for (const path of paths.filter((p) => !FOREIGN_WEIGHTS.test(p) && !WEIGHTS.includes(p))) {
      await mkdir(dirname(join(staging, path)), { recursive: true });
      await copyFile(join(folder, path), join(staging, path), constants.COPYFILE_FICLONE);
    }
    await mkdir(dirname(join(staging, BUILT)), { recursive: true });
    await writeGraph(folder, join(staging, BUILT));
    return await work(staging);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}
