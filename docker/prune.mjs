// Removes what the service does not read from node_modules and dist: engines of other platforms are two thirds of it. License texts stay.
// node docker/prune.mjs [--arch amd64|arm64] [folder with node_modules]
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { arch: { type: 'string' } }, allowPositionals: true });
const root = resolve(positionals[0] ?? '.');

/** Docker's name of a processor → Node's. */
const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' };
// An empty value is that of a builder which does not set TARGETARCH: the image is for the machine that builds it.
const arch = values.arch ? ARCHITECTURES[values.arch] : process.arch;
if (!Object.values(ARCHITECTURES).includes(arch)) {
  console.error(`expected --arch to be ${Object.keys(ARCHITECTURES).join(' or ')}, got ${values.arch || process.arch}`);
  process.exit(2);
}

const engines = join(root, 'node_modules/onnxruntime-node/bin/napi-v6');
/** Folders that are never loaded: engines of other platforms, and caches of the build. */
const unused = [
  ...readdirSync(engines).filter((platform) => platform !== 'linux').map((platform) => join(engines, platform)),
  ...readdirSync(join(engines, 'linux')).filter((name) => name !== arch).map((name) => join(engines, 'linux', name)),
  join(root, 'node_modules/.vite'),
  join(root, 'node_modules/.vite-temp'),
];

/** Files that are not loaded at run time. */
const UNREAD = /\.(d\.[cm]?ts|map|md|markdown|flow|tsbuildinfo)$/i;
const LEGAL = /^(licen[cs]e|copying|notice|thirdparty|third-party|authors)/i;

function* filesBelow(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield { path, name: entry.name };
  }
}

const folders = ['node_modules', 'dist'].map((name) => join(root, name));
const sizeOf = () =>
  folders.flatMap((folder) => [...filesBelow(folder)]).reduce((bytes, { path }) => bytes + statSync(path).size, 0);
const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

const before = sizeOf();
for (const folder of unused) rmSync(folder, { recursive: true, force: true });
for (const folder of folders)
  for (const { path, name } of filesBelow(folder)) if (UNREAD.test(name) && !LEGAL.test(name)) rmSync(path);
console.log(`node_modules and dist, ${arch}: ${megabytes(before)} before, ${megabytes(sizeOf())} after`);
