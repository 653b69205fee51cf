// Fills compile-cache/ with the code of dist and of the modules it imports, so that a start compiles nothing.
// node docker/compile-cache.mjs [--arch amd64|arm64]
// V8 reads such files only on the architecture that wrote them: for another one nothing is written, and starts compile as they do in a checkout.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { arch: { type: 'string' } } });
const target = { amd64: 'x64', arm64: 'arm64' }[values.arch] ?? process.arch;
const cache = resolve('compile-cache');
rmSync(cache, { recursive: true, force: true });
mkdirSync(cache);
if (target !== process.arch) {
  console.log(`no compile cache: this is ${process.arch}, the image is ${target}`);
  process.exit();
}

const packagesOf = (file) =>
  [...readFileSync(file, 'utf8').matchAll(/^(?:import|export) [^;]*?from '([^'.][^']*)'/gm)].map(([, name]) => name);
const files = readdirSync('dist', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.js') && !file.startsWith('console/web/'))
  .toSorted()
  .map((file) => resolve('dist', file));
/** Packages that they import: CommonJS is compiled only when it runs. */
const packages = [...new Set(files.flatMap(packagesOf))].filter((name) => !isBuiltin(name)).toSorted();

const scratch = mkdtempSync(join(tmpdir(), 'winnow-compile-'));
const run = (code) =>
  // Predictable: the same bytes for the same sources (hashes of strings are random otherwise).
  execFileSync(process.execPath, ['--predictable', '--input-type=module', '--eval', code], {
    env: { ...process.env, NODE_COMPILE_CACHE: scratch, ORT_DISABLE_TELEMETRY: '1' },
    stdio: 'inherit',
  });
const imports = (names) => names.map((name) => `import ${JSON.stringify(name)};\n`).join('');
run(`${imports(packages)}process.exit();`);
// Modules are compiled before the first of them runs, and the first one ends the process: no file of dist runs here.
run(imports(['data:text/javascript,process.exit()', ...files.map((file) => pathToFileURL(file).href)]));

// Node names a folder by version, processor features and user; bin/winnow.mjs puts these files where the user of the process finds them.
const [folder] = readdirSync(scratch);
let bytes = 0;
for (const name of readdirSync(join(scratch, folder)).toSorted()) {
  const file = join(scratch, folder, name);
  bytes += statSync(file).size;
  copyFileSync(file, join(cache, name));
}
rmSync(scratch, { recursive: true });
console.log(`${readdirSync(cache).length} modules compiled, ${(bytes / 1e6).toFixed(1)} MB`);
