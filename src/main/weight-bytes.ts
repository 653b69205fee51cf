import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/config-schema.ts';

/** Files that belong to a graph; a folder may have the weights it was made from, too. */
const GRAPH = /\.(?:onnx|onnx[._]data|data|tables)$/;
const WEIGHTS = /\.(?:onnx|onnx[._]data|data|tables|safetensors|bin)$/;
/** Entries of a registry folder that are looked at; where there are more, the exact way is taken. */
const MAX_ENTRIES = 2000;

/** Adds up the files of weights of a folder and those below it, down to a depth. */
function bytesIn(folder: string, depth: number): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += depth > 0 ? bytesIn(path, depth - 1) : 0;
    else if (WEIGHTS.test(entry.name)) bytes += statSync(path).size;
  }
  return bytes;
}

/**
 * Returns an upper bound of the weights of any version of a registry folder, in bytes, from the sizes of files alone.
 * @returns Infinity where the folder cannot be read or is very large.
 */
export function mostWeightBytes(folder: string): number {
  try {
    let most = 0;
    let entries = 0;
    for (const model of readdirSync(folder, { withFileTypes: true })) {
      if (model.name.startsWith('.') || model.isFile()) continue;
      const versions = readdirSync(join(folder, model.name), { withFileTypes: true });
      entries += versions.length;
      if (entries > MAX_ENTRIES) return Number.POSITIVE_INFINITY;
      // An export may be directly in the folder of its model.
      most = Math.max(most, bytesIn(join(folder, model.name), 0));
      for (const version of versions)
        if (version.isDirectory() || version.isSymbolicLink())
          most = Math.max(most, bytesIn(join(folder, model.name, version.name), 1));
    }
    return most;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Returns the size of an ONNX file and of the files that belong to it by name: external data, tables. */
function graphBytes(file: string): number {
  const stem = basename(file).replace(/\.onnx$/, '');
  return readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${stem}.`) && GRAPH.test(name))
    .reduce((sum, name) => sum + statSync(join(dirname(file), name)).size, 0);
}

/** Returns the size of the weights of the default model as it would be served, in bytes; 0 where there is none, or it cannot be read. */
export async function defaultWeightBytes(config: Config): Promise<number> {
  try {
    const { defaultGraph } = await import('./default-graph.ts');
    const spec = await defaultGraph(config);
    return spec ? spec.files.reduce((sum, file) => sum + graphBytes(file), 0) : 0;
  } catch {
    return 0;
  }
}
