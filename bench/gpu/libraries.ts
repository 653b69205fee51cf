import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';

/*
 * Finds the libraries of the CUDA provider. onnxruntime-node looks for them beside its `libonnxruntime.so.1` only. Its binding finds that library by
 * LD_LIBRARY_PATH before its own folder, so that a folder of links to all of them, first in LD_LIBRARY_PATH, adds a provider to an installation that
 * stays as it is.
 */

const CUDA_PROVIDER = 'libonnxruntime_providers_cuda.so';
const SHARED_PROVIDER = 'libonnxruntime_providers_shared.so';
const ENGINE = 'libonnxruntime.so.1';

export interface Place {
  readonly folder: string;
  /** How it was found, for the report. */
  readonly source: string;
}

/** What a search may look at. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folder of the checkout or of the unpacked bundle. */
  readonly root: string;
  /** Folders of Python packages (`site-packages`). */
  readonly packages: readonly string[];
}

const entries = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

const holds = (folder: string, ...names: readonly string[]): boolean =>
  names.every((name) => existsSync(join(folder, name)));

/** Returns the folder of onnxruntime-node's own libraries. */
export function engineFolder(root: string): string {
  const entry = createRequire(join(root, 'package.json')).resolve('onnxruntime-node');
  return join(dirname(dirname(entry)), 'bin/napi-v6', process.platform, process.arch);
}

/** Returns onnxruntime-node's own library of the engine. */
export const ownEngine = (root: string): string => join(engineFolder(root), ENGINE);

/**
 * Returns the first folder with the CUDA provider: `ONNXRUNTIME_PROVIDERS`, `providers/` of the bundle, onnxruntime-node's own (its install script), a
 * Python's onnxruntime.
 */
export function findProviders({ env, root, packages }: Surroundings, engine: string): Place | undefined {
  const places: readonly Place[] = [
    ...(env.ONNXRUNTIME_PROVIDERS ? [{ folder: env.ONNXRUNTIME_PROVIDERS, source: 'ONNXRUNTIME_PROVIDERS' }] : []),
    { folder: join(root, 'providers'), source: 'the bundle' },
    { folder: engine, source: 'onnxruntime-node' },
    ...packages.map((folder) => ({ folder: join(folder, 'onnxruntime/capi'), source: 'onnxruntime-gpu of Python' })),
  ];
  return places.find(({ folder }) => holds(folder, CUDA_PROVIDER, SHARED_PROVIDER));
}

/** Returns the folders with libraries of CUDA, cuDNN and the driver, those of the bundle first. */
export function cudaFolders({ env, root, packages }: Surroundings): readonly string[] {
  const nvidia = packages.flatMap((folder) =>
    entries(join(folder, 'nvidia')).map((name) => join(folder, 'nvidia', name, 'lib')),
  );
  const toolkits = entries('/usr/local')
    .filter((name) => /^cuda(-\d+)?/.test(name))
    .map((name) => join('/usr/local', name, 'lib64'));
  const folders = [
    join(root, 'cuda'),
    ...nvidia,
    ...packages.map((folder) => join(folder, 'torch/lib')),
    ...toolkits,
    '/usr/local/nvidia/lib64',
    '/usr/local/nvidia/lib',
    ...(env.LD_LIBRARY_PATH ?? '').split(delimiter),
  ];
  return [...new Set(folders)].filter(
    (folder) => folder !== '' && entries(folder).some((name) => name.includes('.so')),
  );
}

/** Returns the version in `libonnxruntime.so.1.30.0`, `onnxruntime_gpu-1.30.0.dist-info` or a file `VERSION` beside the libraries. */
export function providerVersion(folder: string): string | undefined {
  const file = join(folder, 'VERSION');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  const library = entries(folder)
    .map((name) => /^libonnxruntime\.so\.(\d+\.\d+\.\d+)$/.exec(name)?.[1])
    .find((version) => version !== undefined);
  if (library !== undefined) return library;
  return entries(dirname(dirname(folder)))
    .map((name) => /^onnxruntime_gpu-(\d+\.\d+\.\d+)\.dist-info$/.exec(name)?.[1])
    .find((version) => version !== undefined);
}

/** Returns the names of libraries that `ldd` did not find. */
export const missingIn = (ldd: string): readonly string[] =>
  [...ldd.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name!);

/** Runs `ldd` with the given search path. @throws Error without `ldd`. */
export function missingLibraries(library: string, searched: string): readonly string[] {
  const env = { ...process.env, LD_LIBRARY_PATH: searched };
  return missingIn(
    execFileSync('ldd', [library], { encoding: 'utf8', env, timeout: 60_000, stdio: ['ignore', 'pipe', 'ignore'] }),
  );
}

/** Names under which cuDNN and its companions are also opened: packages of Python have those with a version alone. */
const PLAIN = /^(lib(?:cudnn|cufft|curand|nvrtc|cublas|cublasLt|cudart))\.so\.\d+$/;

/** Returns the engine's library that came with a provider, if there is one: Python's packages have it. It knows no WebGPU. */
export function engineBeside(providers: string): string | undefined {
  const name = entries(providers).find((entry) => /^libonnxruntime\.so\.\d+\.\d+\.\d+$/.test(entry));
  return name === undefined ? undefined : join(providers, name);
}

/**
 * Makes a folder of links to the engine, the provider and CUDA's libraries under their plain names.
 * @param engine the library that takes the name `libonnxruntime.so.1`.
 * @returns LD_LIBRARY_PATH with which the engine finds all of them.
 */
export function linkLibraries(link: string, engine: string, providers: string, cuda: readonly string[]): string {
  mkdirSync(link, { recursive: true });
  const add = (from: string, name: string) => {
    if (!existsSync(join(link, name))) symlinkSync(realpathSync(from), join(link, name));
  };
  add(engine, ENGINE);
  for (const name of [CUDA_PROVIDER, SHARED_PROVIDER]) add(join(providers, name), name);
  for (const folder of cuda)
    for (const name of entries(folder)) {
      const plain = PLAIN.exec(name)?.[1];
      if (plain !== undefined) add(join(folder, name), `${plain}.so`);
    }
  return [link, ...cuda].join(delimiter);
}

const PACKAGE_FOLDERS =
  'import json, sys; print(json.dumps([p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]))';

/** Returns the folders of a Python's packages; none without that Python. */
export function pythonPackages(python: string): readonly string[] {
  if (python === '') return [];
  try {
    const options: ExecFileSyncOptionsWithStringEncoding = {
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    };
    return JSON.parse(execFileSync(python, ['-c', PACKAGE_FOLDERS], options)) as string[];
  } catch {
    return [];
  }
}
