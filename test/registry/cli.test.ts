import { execFile } from 'node:child_process';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MODELS, SHIPPED_MODELS, SHIPPED_NAME, SHIPPED_NAMES } from '../support/shipped.ts';
import { dropVersion, scratch, writeExport } from './support.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Runs `winnow models …` as a user does, in a process of its own. */
function winnow(folder: string, ...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const argv = ['src/cli/winnow.ts', 'models', ...args];
  const env = { ...process.env, WINNOW_MODELS: folder };
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { cwd: ROOT, env }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

describe('winnow models', () => {
  it('shows every command with examples', async () => {
    const { code, out } = await winnow('models', '--help');
    expect(code).toBe(0);
    for (const command of ['list', 'verify', 'label', 'import', 'pull'])
      expect(out).toContain(`winnow models ${command}`);
  });

  it('list shows the shipped model as a table and as JSON', async () => {
    const [table, json] = await Promise.all([winnow('models', 'list'), winnow('models', 'list', '--json')]);
    expect(table.out).toMatch(/^MODEL +VERSION +LABELS/);
    for (const name of SHIPPED_NAMES)
      expect(table.out).toMatch(new RegExp(`^${name} +1 +stable +int8 +192 +sigmoid +[\\d.]+ +hashed$`, 'm'));
    expect(JSON.parse(json.out)).toMatchObject(
      SHIPPED_MODELS.map((name) => ({ name, version: '1', labels: ['stable'] })),
    );
  });

  it('list shows the cascades that have names, verify those without their models', async () => {
    const registry = await scratch();
    await dropVersion(registry, 'good', '1');
    const stages = [
      { model: 'good', keep: 5 },
      { model: 'gone@2', blend: 0.5 },
    ];
    await writeFile(join(registry, 'cascades.json'), JSON.stringify({ both: stages }));
    const [list, json, verify] = await Promise.all([
      winnow(registry, 'list'),
      winnow(registry, 'list', '--json'),
      winnow(registry, 'verify'),
    ]);
    expect(list.out).toMatch(/\n\nboth: good → best 5 → gone@2, blend 0.5\n$/);
    expect(JSON.parse(json.out)).toHaveLength(1);
    for (const { err } of [list, json, verify])
      expect(err).toContain('cascades.json: both.1.model: problem: expected a model of the registry, got gone@2');
    expect([list.code, verify.code]).toEqual([0, 1]);
  });

  it('import, label, list and verify look after a registry', async () => {
    const [registry, source] = [await scratch(), await writeExport(await scratch(), {})];
    expect(await winnow(registry, 'import', source, 'tiny', '--label', 'stable')).toMatchObject({
      code: 0,
      out: `tiny@1 in ${join(registry, 'tiny', '1')}, stable → 1\n`,
    });
    expect(JSON.parse((await winnow(registry, 'import', source, 'tiny', '--json')).out)).toMatchObject({
      version: '2',
    });
    expect((await winnow(registry, 'label', 'tiny', 'canary', '2')).out).toBe('tiny: canary → 2\n');
    expect(JSON.parse(await readFile(join(registry, 'tiny', 'labels.json'), 'utf8'))).toEqual({
      stable: '1',
      canary: '2',
    });
    expect((await winnow(registry, 'verify', 'tiny:canary')).out).toBe('tiny@2: admitted (fp32)\n');
  });

  it('verify names what is wrong and fails; the rest is verified all the same', async () => {
    const registry = await scratch();
    await dropVersion(registry, 'good', '1');
    await dropVersion(registry, 'bad', '1', { constant: true });
    const { code, out } = await winnow(registry, 'verify');
    expect(code).toBe(1);
    expect(out).toMatch(/^bad@1: refused: .*different scores/m);
    expect(out).toMatch(/^good@1: admitted \(fp32; no hashes\)$/m);
    const json = JSON.parse((await winnow(registry, 'verify', '--json')).out) as { admitted: boolean }[];
    expect(json.map((r) => r.admitted)).toEqual([false, true]);
  });

  it('verify fails where it finds nothing or a problem, and list prints problems too', async () => {
    const registry = await scratch();
    const empty = await winnow(registry, 'verify');
    expect(empty).toMatchObject({
      code: 1,
      out: '',
      err: `${registry}: problem: expected versions of models, got none\n`,
    });
    await dropVersion(registry, 'm', '1');
    expect((await winnow(registry, 'verify')).code).toBe(0);
    await symlink('1', join(registry, 'm', '2'));
    await writeFile(join(registry, 'default.json'), '{"model":"ghost"}');
    const [all, one, json, list] = await Promise.all([
      winnow(registry, 'verify'),
      winnow(registry, 'verify', 'm@2'),
      winnow(registry, 'verify', '--json'),
      winnow(registry, 'list'),
    ]);
    expect(all).toMatchObject({ code: 1, out: 'm@1: admitted (fp32; no hashes)\n' });
    expect(one).toMatchObject({ code: 1, err: expect.stringMatching(/^m\/2: problem: .*symbolic link; .*cp -rL/) });
    expect(JSON.parse(json.out)).toHaveLength(1);
    expect(json.code).toBe(1);
    for (const { err } of [all, json, list])
      expect(err).toMatch(/^m\/2: .*symbolic link[\s\S]*^default\.json: .*got ghost/m);
    expect(list).toMatchObject({ code: 0, out: expect.stringContaining('adopted') });
  });

  it('import and verify print the warnings of admission', async () => {
    const [registry, source] = [await scratch(), await writeExport(await scratch(), { dynamic: true })];
    const warning = /^m@1: warning: onnx\/model\.onnx: DynamicQuantizeLinear /m;
    expect((await winnow(registry, 'import', source, 'm')).out).toMatch(warning);
    const { code, out } = await winnow(registry, 'verify');
    expect(out).toMatch(warning);
    expect(code).toBe(0);
  });

  it('names what it does not know', async () => {
    const registry = await scratch();
    await dropVersion(registry, 'm', '1');
    const wrong = [
      ['verify', 'x'],
      ['label', 'x', 'stable', '1'],
      ['label', 'm', 'stable', '9'],
      ['label', 'm', '..', '1'],
    ];
    for (const { code, err } of await Promise.all(wrong.map((args) => winnow(registry, ...args)))) {
      expect(code).toBe(2);
      expect(err).toMatch(/^winnow: expected /);
    }
    const missing = await winnow(join(registry, 'nowhere'), 'list');
    expect(missing).toMatchObject({ code: 2, err: expect.stringMatching(/expected a registry folder, got none/) });
  });

  it('pull fetches from a server laid out like the hub', async () => {
    const [registry, exported] = [await scratch(), await writeExport(await scratch(), {})];
    const server = createServer((request, response) => {
      const file = /^\/acme\/tiny\/resolve\/v1\.0\/(.*)$/.exec(decodeURIComponent(request.url ?? ''))?.[1];
      readFile(join(exported, file ?? 'nothing')).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      );
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise((done) => server.once('listening', done));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pulled = await winnow(
      registry,
      'pull',
      'acme/tiny',
      '--revision',
      'v1.0',
      '--endpoint',
      endpoint,
      '--label',
      'stable',
    );
    expect(pulled).toMatchObject({ code: 0, out: expect.stringMatching(/^tiny@1 in .*stable → 1$/m) });
    expect(pulled.err).toMatch(/model\.onnx .*100/);
    const none = await winnow(registry, 'pull', 'acme/none', '--endpoint', endpoint);
    expect(none).toMatchObject({ code: 2, err: expect.stringMatching(/HTTP 404/) });
  });

  it('verify of the shipped model admits it; of a changed copy it does not', async () => {
    const registry = await scratch();
    await cp(join(MODELS, SHIPPED_NAME), join(registry, SHIPPED_NAME), { recursive: true });
    expect((await winnow(registry, 'verify', SHIPPED_NAME)).out).toBe(`${SHIPPED_NAME}@1: admitted (int8)\n`);
    const config = join(registry, SHIPPED_NAME, '1', 'config.json');
    await writeFile(config, (await readFile(config, 'utf8')).replace('gelu', 'relu'));
    const changed = await winnow(registry, 'verify');
    expect(changed).toMatchObject({ code: 1, out: expect.stringMatching(/config\.json: expected sha256/) });
  });
});
