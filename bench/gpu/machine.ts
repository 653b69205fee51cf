import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { basename, join } from 'node:path';
import type { Finding } from './findings.ts';
import {
  cudaFolders,
  engineBeside,
  engineFolder,
  findProviders,
  linkLibraries,
  missingLibraries,
  ownEngine,
  providerVersion,
  type Surroundings,
} from './libraries.ts';

/** Runs a program. @returns its output in one line; undefined where it fails or is absent. */
function said(program: string, args: readonly string[], timeout = 30_000): string | undefined {
  try {
    const options: ExecFileSyncOptionsWithStringEncoding = {
      encoding: 'utf8',
      timeout,
      stdio: ['ignore', 'pipe', 'ignore'],
    };
    return execFileSync(program, args, options).trim().replaceAll('\n', '; ');
  } catch {
    return undefined;
  }
}

const TORCH =
  'import torch; print(torch.__version__, "CUDA", torch.version.cuda, "card" if torch.cuda.is_available() else "no card")';

/** Version of the engine that is installed. */
export const engineVersion = (root: string): string =>
  JSON.parse(readFileSync(createRequire(join(root, 'package.json')).resolve('onnxruntime-node/package.json'), 'utf8'))
    .version;

/** Describes the machine for the report. @param python a Python, or ''. */
export function describeMachine(root: string, python: string): Readonly<Record<string, string>> {
  const query = ['--query-gpu=name,driver_version,memory.total,compute_cap', '--format=csv,noheader'];
  return {
    card: said('nvidia-smi', query) ?? 'nvidia-smi does not answer',
    processor: `${cpus().length} threads of ${cpus()[0]?.model ?? 'an unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: `Node ${process.version}, onnxruntime-node ${engineVersion(root)}`,
    torch: (python === '' ? undefined : said(python, ['-c', TORCH], 120_000)) ?? 'none',
  };
}

/** An engine that the provider is linked to. */
export interface Linked {
  readonly name: string;
  /** LD_LIBRARY_PATH for every process that uses it. */
  readonly searched: string;
}

export interface Provided {
  /** Engines to be tried in this order: onnxruntime-node's own, then the one that came with the provider. */
  readonly engines: readonly Linked[];
  readonly findings: readonly Finding[];
}

/** Finds the provider's libraries, links them into folders below `link` and checks versions and what they need. */
export function provide(around: Surroundings, link: string): Provided {
  const place = findProviders(around, engineFolder(around.root));
  const expected = engineVersion(around.root);
  if (!place) {
    const detail = `expected libonnxruntime_providers_cuda.so in ONNXRUNTIME_PROVIDERS or a Python's onnxruntime-gpu ${expected}, got none`;
    return { engines: [], findings: [{ what: 'provider library', status: 'fault', detail }] };
  }
  const cuda = cudaFolders(around);
  const own = {
    name: 'onnxruntime-node',
    searched: linkLibraries(join(link, 'own'), ownEngine(around.root), place.folder, cuda),
  };
  const beside = engineBeside(place.folder);
  const theirs = beside && {
    name: basename(beside),
    searched: linkLibraries(join(link, 'theirs'), beside, place.folder, cuda),
  };
  const version = providerVersion(place.folder);
  const found: Finding = {
    what: 'provider library',
    status: version === undefined || version === expected ? 'right' : 'wrong',
    detail: `${version ?? 'unknown version'} from ${place.source} (${place.folder}); the engine is ${expected}`,
  };
  const library = join(link, 'own/libonnxruntime_providers_cuda.so');
  return { engines: theirs ? [own, theirs] : [own], findings: [found, needed(library, own.searched, cuda)] };
}

function needed(library: string, searched: string, cuda: readonly string[]): Finding {
  const what = 'libraries that the provider needs (ldd)';
  try {
    const missing = missingLibraries(library, searched);
    const detail = missing.length === 0 ? `all found; searched ${cuda.join(', ')}` : `not found: ${missing.join(', ')}`;
    return { what, status: missing.length === 0 ? 'right' : 'wrong', detail };
  } catch (error) {
    return { what, status: 'left out', detail: (error as Error).message };
  }
}
