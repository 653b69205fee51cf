import { constants, copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { withTemporary } from '../util/files.ts';
import { WEIGHT_FILES } from '../util/weight-files.ts';
import { DEFAULT_LIMITS, type FolderFile, type FolderLimits, listFiles } from './folder-files.ts';
import { excerpt } from './model-names.ts';
import { FOREIGN_WEIGHTS } from './publish-version.ts';
import type { AdmissionDeps } from './version-admission.ts';
import { checkTextFiles, readSettings } from './version-folder.ts';

const BUILT = 'onnx/model.onnx';

/** Checks, before weights are read, that the files are safe to parse and ask for nothing that a graph of the weights lacks. */
async function check(folder: string, files: readonly FolderFile[], limits: FolderLimits): Promise<void> {
  await checkTextFiles(folder, files, limits);
  await readSettings(folder, files, limits, undefined);
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
  const files = await listFiles(folder, limits);
  const paths = files.map(({ path }) => path);
  if (!writeGraph || !needsGraph(paths)) return work(folder);
  await check(folder, files, limits);
  return withTemporary(join(registryFolder, 'import'), async (staging) => {
    for (const path of paths.filter((p) => !FOREIGN_WEIGHTS.test(p) && !WEIGHT_FILES.includes(p))) {
      await mkdir(dirname(join(staging, path)), { recursive: true });
      await copyFile(join(folder, path), join(staging, path), constants.COPYFILE_FICLONE);
    }
    await mkdir(dirname(join(staging, BUILT)), { recursive: true });
    await writeGraph(folder, join(staging, BUILT));
    return work(staging);
  });
}
