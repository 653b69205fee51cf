import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Check } from '../../bench/gpu/checks/check.ts';
import { attentionKernels, readProfile } from '../../bench/gpu/checks/kernels.ts';
import type { Context } from '../../bench/gpu/context.ts';
import { findingsIn, shortened } from '../../bench/gpu/findings.ts';
import {
  cudaFolders,
  engineFolder,
  findProviders,
  linkLibraries,
  missingIn,
  ownEngine,
  providerVersion,
} from '../../bench/gpu/libraries.ts';
import { provide } from '../../bench/gpu/machine.ts';
import { packageClosure } from '../../bench/gpu/package-closure.ts';
import { writeParts } from '../../bench/gpu/parts.ts';
import { type BenchReport, markdownOf } from '../../bench/gpu/report.ts';
import { runCheck } from '../../bench/gpu/run-check.ts';

const ROOT = join(import.meta.dirname, '../..');
const CUDA = 'libonnxruntime_providers_cuda.so';
const SHARED = 'libonnxruntime_providers_shared.so';

let at: string;
beforeAll(() => {
  at = mkdtempSync(join(tmpdir(), 'winnow-gpu-test-'));
});
afterAll(() => rmSync(at, { recursive: true, force: true }));

/** Writes empty files; those with content are given as `name=content`. */
function files(folder: string, ...names: readonly string[]): string {
  for (const name of names) {
    const [path, content = ''] = name.split('=') as [string, string?];
    mkdirSync(dirname(join(at, folder, path)), { recursive: true });
    writeFileSync(join(at, folder, path), content);
  }
  return join(at, folder);
}

describe('libraries', () => {
  const nowhere = { env: {}, root: '/nowhere', packages: [] };

  it('are looked for in ONNXRUNTIME_PROVIDERS, the bundle, the package, Python, in this order', () => {
    const own = files('own', CUDA, SHARED);
    const root = files('bundle', `providers/${CUDA}`, `providers/${SHARED}`);
    const python = files('python', `onnxruntime/capi/${CUDA}`, `onnxruntime/capi/${SHARED}`);
    const all = { env: { ONNXRUNTIME_PROVIDERS: own }, root, packages: [python] };
    expect(findProviders(all, own)).toEqual({ folder: own, source: 'ONNXRUNTIME_PROVIDERS' });
    expect(findProviders({ ...all, env: {} }, own)?.folder).toBe(join(root, 'providers'));
    expect(findProviders({ ...nowhere, packages: [python] }, own)?.source).toBe('onnxruntime-node');
    expect(findProviders({ ...nowhere, packages: [python] }, '/none')?.folder).toBe(join(python, 'onnxruntime/capi'));
    expect(findProviders(nowhere, '/none')).toBeUndefined();
    // One library without the other is no provider.
    expect(findProviders({ ...nowhere, env: { ONNXRUNTIME_PROVIDERS: files('half', CUDA) } }, '/none')).toBeUndefined();
  });

  it('tell their version by name, by the package beside them or by a file', () => {
    expect(providerVersion(files('named', 'libonnxruntime.so.1.30.0'))).toBe('1.30.0');
    expect(
      providerVersion(
        join(files('wheel', 'onnxruntime/capi/x.so', 'onnxruntime_gpu-1.29.0.dist-info/METADATA'), 'onnxruntime/capi'),
      ),
    ).toBe('1.29.0');
    expect(providerVersion(files('filed', 'VERSION=1.28.1\n'))).toBe('1.28.1');
    expect(providerVersion(files('unknown', CUDA))).toBeUndefined();
  });

  it("of CUDA are found in a Python's packages and in LD_LIBRARY_PATH, each folder once, none without a library", () => {
    const python = files(
      'cuda-python',
      'nvidia/cudnn/lib/libcudnn.so.9',
      'nvidia/cu13/lib/libcudart.so.13',
      'nvidia/empty/lib/readme',
      'torch/lib/libc10.so',
    );
    const path = files('cuda-path', 'libcurand.so.10');
    const found = cudaFolders({
      env: { LD_LIBRARY_PATH: [path, path].join(delimiter) },
      root: '/nowhere',
      packages: [python],
    });
    expect(found.filter((folder) => folder.startsWith(at))).toEqual([
      join(python, 'nvidia/cu13/lib'),
      join(python, 'nvidia/cudnn/lib'),
      join(python, 'torch/lib'),
      path,
    ]);
  });

  it('are linked into one folder, under plain names too, and the installed package stays as it is', () => {
    const providers = files('link-providers', CUDA, SHARED);
    const cuda = files('link-cuda', 'libcudnn.so.9', 'libcudnn_graph.so.9', 'libcublasLt.so.13');
    const before = readdirSync(engineFolder(ROOT));
    const link = join(at, 'link');
    expect(linkLibraries(link, ownEngine(ROOT), providers, [cuda])).toBe([link, cuda].join(delimiter));
    expect(readdirSync(link).sort()).toEqual(['libcublasLt.so', 'libcudnn.so', 'libonnxruntime.so.1', CUDA, SHARED]);
    expect(readlinkSync(join(link, 'libcudnn.so'))).toBe(join(cuda, 'libcudnn.so.9'));
    expect(readdirSync(engineFolder(ROOT))).toEqual(before);
  });

  it('that ldd does not find are named', () => {
    const ldd =
      '\tlinux-vdso.so.1 (0x1)\n\tlibcuda.so.1 => not found\n\tlibm.so.6 => /lib/libm.so.6 (0x2)\n\tlibcudart.so.13 => not found\n';
    expect(missingIn(ldd)).toEqual(['libcuda.so.1', 'libcudart.so.13']);
  });

  it('of another version are wrong, and the engine that came with them is tried second', () => {
    const folder = files('old', CUDA, SHARED, 'libonnxruntime.so.1.29.0');
    const { engines, findings } = provide(
      { env: { ONNXRUNTIME_PROVIDERS: folder }, root: ROOT, packages: [] },
      join(at, 'old-link'),
    );
    expect(engines.map(({ name }) => name)).toEqual(['onnxruntime-node', 'libonnxruntime.so.1.29.0']);
    expect(findings[0]).toMatchObject({ what: 'provider library', status: 'wrong' });
    expect(findings[0]!.detail).toContain('1.29.0 from ONNXRUNTIME_PROVIDERS');
  });

  it('that are nowhere are a fault that says where they are looked for', () => {
    const { engines, findings } = provide(
      { env: { ONNXRUNTIME_PROVIDERS: '/none' }, root: ROOT, packages: [] },
      join(at, 'none-link'),
    );
    expect([engines.length, findings[0]!.status]).toEqual([0, 'fault']);
    expect(findings[0]!.detail).toContain('ONNXRUNTIME_PROVIDERS');
  });
});

describe('a check in a process of its own', () => {
  const context: Context = {
    ...{ provider: 'cpu', small: true, at: '/none', fixtures: '', realModel: '', tokenizer: '', python: '' },
    ...{ seconds: 1, threads: 1 },
  };
  const say = `process.stdout.write('@finding ' + JSON.stringify({ what: 'first', status: 'right' }) + '\\n');`;
  const check: Check = { name: 'x', question: '', seconds: 1, run: async () => {} };
  const run = (script: string, deadlineMs = 20_000) =>
    runCheck(check, context, { command: [process.execPath, '-e', script, '--'], env: process.env, deadlineMs });

  it('keeps what was found before a crash or an exit code, and ends at its deadline', async () => {
    const first = { what: 'first', status: 'right' };
    const crashed = await run(`${say} process.kill(process.pid, 'SIGSEGV'); setInterval(() => {}, 1000);`);
    expect(crashed.findings).toEqual([first, { what: 'x', status: 'fault', detail: 'ended by SIGSEGV.' }]);
    const failed = await run(`${say} console.error('no device'); process.exitCode = 3;`);
    expect(failed.findings).toEqual([first, { what: 'x', status: 'fault', detail: 'ended by 3. no device' }]);
    const late = await run('setInterval(() => {}, 1000);', 500);
    expect(late.findings).toEqual([{ what: 'x', status: 'fault', detail: 'ended at its deadline of 1 s.' }]);
    expect((await run(say)).findings).toEqual([first]);
  });

  it('that cannot start is a fault', async () => {
    const found = await runCheck(check, context, { command: ['/no/program'], env: process.env, deadlineMs: 5000 });
    expect(found.findings).toMatchObject([{ what: 'x', status: 'fault' }]);
  });

  it('tells findings from the other lines of the engine', () => {
    expect(findingsIn(['noise', '@finding {"what":"a","status":"right"}'])).toEqual([{ what: 'a', status: 'right' }]);
    expect(shortened(`\u001b[1;31mred\u001b[m\n  text`)).toBe('red text');
    expect(shortened('x'.repeat(1000))).toHaveLength(403);
  });
});

describe('a profile', () => {
  it('is summed up by operator, with what ran on the processor and whether attention was fused', () => {
    const node = (op_name: string, dur: number, provider: string) => ({
      cat: 'Node',
      name: `${op_name}_kernel_time`,
      dur,
      args: { op_name, provider },
    });
    const findings = readProfile([
      node('MultiHeadAttention', 3000, 'CUDAExecutionProvider'),
      node('MatMul', 6000, 'CUDAExecutionProvider'),
      node('Gather', 1000, 'CPUExecutionProvider'),
      { cat: 'Session', name: 'model_run', dur: 99_999 },
      { cat: 'Kernel', name: 'flash_fwd_kernel', dur: 10 },
    ]);
    expect(findings.map(({ what, value, detail }) => [what, value, detail])).toEqual([
      ['time by operator', 10, 'MatMul 60 %, MultiHeadAttention 30 %, Gather 10 %'],
      ['fused attention nodes', 1, undefined],
      ['calls on the processor', 1, 'Gather 1'],
      ['kernels', 1, 'flash_fwd_kernel 1'],
    ]);
  });

  it("names the kernels of attention from the engine's own lines", () => {
    const line = 'Operator=MultiHeadAttention Node=a DataType=fp16 SdpaKernel=CUDNN_FLASH_ATTENTION';
    expect(attentionKernels(['other', line, line])).toMatchObject([
      { value: 2, detail: 'MultiHeadAttention → CUDNN_FLASH_ATTENTION 2' },
    ]);
    expect(attentionKernels([])).toEqual([]);
  });
});

describe('the report', () => {
  const base: BenchReport = {
    ...{
      command: 'npm run bench:gpu',
      started: '2026-01-01T00:00:00Z',
      provider: 'cuda',
      dryRun: false,
      seconds: 61.2,
    },
    machine: { card: 'NVIDIA H100' },
    checks: [
      {
        ...{ name: 'engine', question: '', provider: 'cuda', seconds: 1 },
        findings: [
          { what: 'fp16, 4096', status: 'measured', value: 21_234.4, unit: 'pairs/s' },
          { what: 'fp16, 8192', status: 'fault', detail: 'out | of\nmemory' },
        ],
      },
      {
        ...{ name: 'fixtures', question: '', provider: 'webgpu', seconds: 1 },
        findings: [{ what: 'bert', status: 'wrong', value: Number.NaN, unit: 'largest difference' }],
      },
    ],
  };

  it('has the rates that count, a tally and one table with a line per finding', () => {
    const text = markdownOf(base);
    expect(text).toContain('- engine: 21,234 pairs/s (fp16, 4096; target 20,000)');
    expect(text).toContain('- http: no rate');
    expect(text).toContain('- findings: 1 measured, 1 fault, 1 wrong');
    const rows = text.split('\n').filter((line) => line.startsWith('|'));
    expect(rows).toHaveLength(5);
    expect(rows[3]).toContain('out \\| of memory');
    expect(rows[4]).toMatch(/^\| fixtures \(webgpu\) .*NaN largest difference/);
  });

  it('of a dry run says so and sets no target', () => {
    const text = markdownOf({ ...base, dryRun: true });
    expect(text).toContain('dry run, the processor in the place of a card');
    expect(text).not.toContain('target 20,000');
  });
});

describe('the bundle', () => {
  it('takes the packages that the dependencies need, those of packages included, and no others', () => {
    const manifest = (name: string, dependencies: Record<string, string>, more = {}) =>
      `${name}/package.json=${JSON.stringify({ dependencies, ...more })}`;
    const root = files(
      'closure',
      `package.json=${JSON.stringify({ dependencies: { a: '1', left: '1' } })}`,
      manifest('node_modules/a', { b: '1' }, { optionalDependencies: { absent: '1', c: '1' } }),
      manifest('node_modules/a/node_modules/b', {}),
      manifest('node_modules/b', {}),
      manifest('node_modules/c', { a: '1' }),
      manifest('node_modules/left', { d: '1' }),
      manifest('node_modules/unneeded', {}),
    );
    expect(packageClosure(root, new Set(['left']))).toEqual([
      'node_modules/a',
      'node_modules/a/node_modules/b',
      'node_modules/c',
    ]);
    expect(() => packageClosure(root, new Set())).toThrow('expected d of node_modules/left in node_modules, got none');
  });

  it.each([1, 7, 1000])('is cut into parts of at most %d bytes with their sums', (limit) => {
    const folder = join(at, `parts-${limit}`);
    mkdirSync(folder);
    const bytes = Buffer.from(Array.from({ length: 50 }, (_, i) => i));
    writeFileSync(join(folder, 'a'), bytes.subarray(0, 20));
    writeFileSync(join(folder, 'b'), bytes.subarray(20));
    const count = writeParts(folder, [join(folder, 'a'), join(folder, 'b')], limit);
    expect(count).toBe(Math.ceil(50 / limit));
    const lines = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trim().split('\n');
    const parts = lines.map((line) => readFileSync(join(folder, line.slice(66))));
    expect(parts.every((part) => part.length <= limit && part.length > 0)).toBe(true);
    expect(lines.map((line) => line.slice(0, 64))).toEqual(
      parts.map((part) => createHash('sha256').update(part).digest('hex')),
    );
    expect(Buffer.concat(parts)).toEqual(bytes);
    expect(readFileSync(join(folder, 'SIZES'), 'utf8')).toBe('20 30\n');
  });

  const unpack = (parts: string, target: string) =>
    spawnSync('/bin/bash', [join(ROOT, 'bench/gpu/unpack.sh'), parts, target, '--provider', 'cpu'], {
      encoding: 'utf8',
      env: {},
    });

  /** A bundle whose Node is a script that calls the real one, and whose benchmark prints its flags. */
  function bundle(name: string): string {
    const tree = files(`${name}-tree`, "bench/gpu.ts=console.log('ran', process.argv.slice(2).join(' '))");
    const folder = files(name, 'unused');
    rmSync(join(folder, 'unused'));
    writeFileSync(join(folder, 'node.gz'), gzipSync(`#!/bin/sh\nexec "${process.execPath}" "$@"\n`));
    const tar = execFileSync('tar', ['-cf', '-', '-C', tree, '.']);
    writeFileSync(join(folder, 'rest'), zstdCompressSync(tar));
    writeParts(folder, [join(folder, 'node.gz'), join(folder, 'rest')], 100);
    return folder;
  }

  it('unpacks itself without an environment, once, and runs the benchmark with the flags', () => {
    const [parts, target] = [bundle('whole'), join(at, 'target')];
    expect(statSync(join(parts, 'part-002')).size).toBeGreaterThan(0);
    const first = unpack(parts, target);
    expect([first.stdout, first.status]).toEqual(['ran --provider cpu\n', 0]);
    rmSync(parts, { recursive: true });
    mkdirSync(parts);
    expect(unpack(parts, target).stdout).toBe('ran --provider cpu\n');
  });

  it('is refused with the names of missing and damaged parts', () => {
    const parts = bundle('damaged');
    const part = readFileSync(join(parts, 'part-001'));
    rmSync(join(parts, 'part-001'));
    const missing = unpack(parts, join(at, 'target-2'));
    expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining('missing: part-001')]);
    part[3]! ^= 1;
    writeFileSync(join(parts, 'part-001'), part);
    const damaged = unpack(parts, join(at, 'target-2'));
    expect(damaged.status).not.toBe(0);
    expect(damaged.stdout + damaged.stderr).toContain('part-001');
    expect(damaged.stdout).not.toContain('ran');
  });
});
