// Removes from node_modules what the service does not need on linux x64: engines of other platforms and of browsers are two thirds of it.
// node docker/prune.mjs [folder with node_modules]
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const modules = join(resolve(process.argv[2] ?? '.'), 'node_modules');

/** Folders that are never loaded: engines of other platforms, and the browser engine, which the tokenizer library has in its own bundle. */
const UNUSED = [
  'onnxruntime-node/bin/napi-v6/darwin',
  'onnxruntime-node/bin/napi-v6/win32',
  'onnxruntime-node/bin/napi-v6/linux/arm64',
  'onnxruntime-web',
  '.vite',
  '.vite-temp',
];

/** Files that are not loaded at run time. */
const UNREAD = /\.(d\.[cm]?ts|map|md|markdown|flow)$/i;

function* filesBelow(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

const sizeOf = () => [...filesBelow(modules)].reduce((bytes, path) => bytes + statSync(path).size, 0);
const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

const before = sizeOf();
for (const folder of UNUSED) rmSync(join(modules, folder), { recursive: true, force: true });
for (const path of filesBelow(modules)) if (UNREAD.test(path)) rmSync(path);
console.log(`node_modules: ${megabytes(before)} before, ${megabytes(sizeOf())} after`);
