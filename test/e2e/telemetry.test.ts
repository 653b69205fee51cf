import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, it } from 'vitest';
import { MODELS, SHIPPED } from '../support/shipped.ts';
import { FLEAS, ROOT, Scratch } from './support.ts';

/*
 * ONNX Runtime's telemetry is off on its own where `CI` is set, so that these processes get an environment without it, and a home folder of
 * their own: the first thing the telemetry does is to keep a device id there.
 */

const scratch = new Scratch();
afterAll(() => scratch.clear());

const bareEnvironment = (home: string) => ({
  PATH: process.env.PATH ?? '',
  HOME: home,
  XDG_CACHE_HOME: join(home, '.cache'),
});

function run(home: string, argv: readonly string[]): Promise<{ code: number; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...argv], { cwd: ROOT, env: bareEnvironment(home) }, (error, _out, err) =>
      resolve({ code: error ? Number(error.code) : 0, err }),
    );
  });
}

const filesIn = (home: string): string[] => readdirSync(home, { recursive: true, encoding: 'utf8' });

/** Files of src/ that load the engine's package at run time. */
const importers = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .filter((file) =>
    /^(?:import|export)(?! type)[^;]*from 'onnxruntime-node'|import\('onnxruntime-node'\)/m.test(
      readFileSync(join(ROOT, 'src', file), 'utf8'),
    ),
  );

describe('what leaves the machine', () => {
  it('the engine alone keeps a device id in the home folder', async () => {
    const home = scratch.make();
    const script = `const { InferenceSession } = require('onnxruntime-node');
      InferenceSession.create(${JSON.stringify(join(SHIPPED, 'onnx', 'model_int8.onnx'))}).then(() => process.exit(0));`;
    expect((await run(home, ['-e', script])).code).toBe(0);
    expect(filesIn(home).some((file) => file.endsWith('deviceid'))).toBe(true);
  });

  it('one module of src/ loads the engine, with its telemetry off', () => {
    expect(importers).toEqual([join('onnx', 'engine.ts')]);
  });

  it.each([['models verify', ['models', 'verify', 'minilm-l6-bce', '--models', MODELS]]])(
    '`winnow %s` writes nothing at home',
    async (_, args) => {
      const home = scratch.make();
      expect(await run(home, ['bin/winnow.mjs', ...args])).toMatchObject({ code: 0 });
      expect(filesIn(home)).toEqual([]);
    },
  );

  it('a server that has answered writes nothing at home', async () => {
    const home = scratch.make();
    const runs = scratch.make();
    mkdirSync(join(runs, 'work'));
    const server = spawn(
      process.execPath,
      [join(ROOT, 'bin/winnow.mjs'), 'serve', '--port', '0', '--host', '127.0.0.1', '--models', MODELS],
      { cwd: join(runs, 'work'), env: bareEnvironment(home), stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      let url: string | undefined;
      for await (const line of createInterface({ input: server.stdout })) {
        const { msg, url: at } = JSON.parse(line) as { msg: string; url?: string };
        // Before this line, only probes are answered.
        if (msg === 'listening') url = at;
        if (url) break;
      }
      server.stdout.resume();
      const { query, passages } = FLEAS;
      const answer = await fetch(`${url}/rerank`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query, texts: passages }),
      });
      expect(answer.status).toBe(200);
    } finally {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      await ended;
    }
    expect(filesIn(home)).toEqual([]);
  });
});
