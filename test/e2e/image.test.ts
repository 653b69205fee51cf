import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { type Built, buildStage, readStages } from './dockerfile.ts';
import { FLEAS, ROOT } from './support.ts';

const STAGES = readStages(join(ROOT, 'Dockerfile'));
/** Beside node_modules, so that hard links to it are possible. */
const scratch = join(ROOT, 'tmp');

/** What `npm ci` would bring: the modules that are installed here, linked. Files npm writes in place are copied. */
function installed(command: string, cwd: string): boolean {
  if (!command.startsWith('npm ci')) return false;
  execFileSync('cp', ['-al', join(ROOT, 'node_modules'), cwd]);
  const lock = 'node_modules/.package-lock.json';
  rmSync(join(cwd, lock), { force: true });
  if (existsSync(join(ROOT, lock))) copyFileSync(join(ROOT, lock), join(cwd, lock));
  return true;
}

describe('the image for the CPU, its steps carried out in a clean folder', () => {
  let folder: string;
  let built: Built;
  let app: string;
  let server: ServerProcess;
  const stage = STAGES.find(({ name }) => name === 'cpu-bare')!;
  const value = (keyword: string) => stage.instructions.find((i) => i.keyword === keyword)!.text;

  beforeAll(async () => {
    mkdirSync(scratch, { recursive: true });
    folder = mkdtempSync(join(scratch, 'image-'));
    const ignore = readFileSync(join(ROOT, '.dockerignore'), 'utf8');
    built = buildStage('cpu', {
      stages: STAGES,
      context: ROOT,
      ignore,
      root: folder,
      instead: installed,
      env: process.env,
    });
    app = join(built.root, built.workdir);
    const entry = (JSON.parse(value('ENTRYPOINT')) as string[]).map((part) => part.replace(/^\/app/, app));
    const command = [process.execPath, ...entry.slice(1), ...(JSON.parse(value('CMD')) as string[])];
    server = await startServerProcess({
      command: command as [string, ...string[]],
      cwd: app,
      env: {
        WINNOW_MODELS: built.env.WINNOW_MODELS!.replace(/^\/app/, app),
        XDG_CACHE_HOME: built.env.XDG_CACHE_HOME!.replace(/^\/app/, app),
        NODE_COMPILE_CACHE: '',
        NODE_ENV: 'production',
      },
    });
  }, 240_000);
  afterAll(async () => {
    await server?.stop();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  it('holds the compiled program and what it needs, nothing else', () => {
    expect(readdirSync(app).toSorted()).toEqual([
      'LICENSE',
      'bin',
      'cache',
      'compile-cache',
      'dist',
      'models',
      'node_modules',
      'package.json',
      'runs',
      'sbom.cdx.json',
    ]);
    for (const development of ['typescript', 'vitest', 'node', '@biomejs/biome', 'onnxruntime-web', 'sharp'])
      expect(existsSync(join(app, 'node_modules', development)), development).toBe(false);
    const engines = join(app, 'node_modules/onnxruntime-node/bin/napi-v6');
    expect(readdirSync(engines)).toEqual(['linux']);
    expect(readdirSync(join(engines, 'linux'))).toEqual([process.arch]);
    const files = readdirSync(app, { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => /\.(map|d\.ts)$/.test(file))).toEqual([]);
    expect(files.filter((file) => /\/licen[cs]e[^/]*$/i.test(file)).length).toBeGreaterThan(100);
  });

  it('names its modules in a CycloneDX document', () => {
    const { bomFormat, components } = JSON.parse(readFileSync(join(app, 'sbom.cdx.json'), 'utf8'));
    expect(bomFormat).toBe('CycloneDX');
    const named = new Set(
      components.map(({ group, name }: Record<string, string>) => (group ? `${group}/${name}` : name)),
    );
    for (const name of ['express', 'onnxruntime-node', 'pg']) expect(named).toContain(name);
    expect(named).not.toContain('vitest');
  });

  it('starts from the compiled code that it holds', () => {
    expect(readdirSync(join(app, 'compile-cache')).length).toBeGreaterThan(300);
    const [folder] = readdirSync(join(app, 'cache/compiled'));
    expect(readlinkSync(join(app, 'cache/compiled', folder!))).toBe(join(app, 'compile-cache'));
  });

  it('serves from dist/', async () => {
    const response = await fetch(`${server.url}/v2/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: FLEAS.query, documents: FLEAS.passages, top_n: 2 }),
    });
    expect(response.status).toBe(200);
    const { results } = (await response.json()) as { results: { index: number }[] };
    expect(results.map(({ index }) => index).toSorted()).toEqual([1, 3]);
  });

  it('holds the page of the console', async () => {
    const response = await fetch(`${server.url}/console/`);
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('<title>Winnow console</title>');
  });

  it('passes its own health check, and fails it where nothing listens', () => {
    const check = JSON.parse(/CMD (\[.*\])$/.exec(value('HEALTHCHECK'))![1]!) as string[];
    const args = check.slice(1).map((part) => part.replace(/^\/app/, app));
    const env = (port: string) => ({ ...process.env, PORT: port, WINNOW_MODELS: join(app, 'models') });
    const run = (port: string) => spawnSync(process.execPath, args, { env: env(port) }).status;
    expect(run(new URL(server.url).port)).toBe(0);
    expect(run('1')).toBe(1);
  });

  it('runs as an unprivileged user, and ends with 0 on its stop signal', async () => {
    expect(value('USER')).toBe('1000:0');
    expect(value('STOPSIGNAL')).toBe('SIGTERM');
    expect(await server.stop()).toBe(0);
  });
});

describe('the image for CUDA', () => {
  it('differs from the other in its base, its engine files and its provider', () => {
    const keep = (name: string) =>
      STAGES.find((s) => s.name === name)!
        .instructions.filter(({ keyword }) => !['ENV', 'HEALTHCHECK'].includes(keyword))
        .map(({ keyword, text }) => `${keyword} ${text.replaceAll(/files-(cpu|cuda)/g, 'files')}`)
        .filter((line) => !line.includes('/usr/local/bin/node'));
    expect(keep('cuda-bare')).toEqual(keep('cpu-bare'));
    expect(keep('cuda')).toEqual(keep('cpu'));
    const environment = STAGES.find((s) => s.name === 'cuda-bare')!.instructions.filter(
      ({ keyword }) => keyword === 'ENV',
    );
    expect(environment.map(({ text }) => text).join(' ')).toContain('WINNOW_INFERENCE_PROVIDER=cuda');
  });

  it("installs the CUDA files by the engine's own script", () => {
    const { instructions, from } = STAGES.find((s) => s.name === 'files-cuda')!;
    expect(from).toBe('build');
    const script = /node (\S+install\.js)/.exec(instructions[0]!.text)![1]!;
    expect(existsSync(join(ROOT, script))).toBe(true);
    const manifest = readFileSync(join(ROOT, script, '../install-metadata.js'), 'utf8');
    expect(manifest).toContain("'linux/x64:cuda12'");
  });
});
