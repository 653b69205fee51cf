import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { relabel } from '../../src/registry/relabel.ts';
import {
  broken,
  dropVersion,
  fakePool,
  label,
  openRegistry,
  recorder,
  scratch,
  serving,
  writeExport,
} from './support.ts';

describe('a new version', () => {
  it('takes over without labels; the one before stays for the way back, older ones leave', async () => {
    const folder = await scratch();
    const pool = fakePool();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { pool });
    (await registry.acquire('m')).release();
    for (const version of ['2', '3']) {
      await dropVersion(folder, 'm', version);
      await registry.rescan();
      expect((await registry.acquire('m')).version.version).toBe(version);
    }
    expect([...pool.loaded.keys()]).toEqual(['m@2', 'm@3']);
  });

  it('that is refused does not touch the one that serves, and says why', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { observer });
    (await registry.acquire('m')).release();
    await dropVersion(folder, 'm', '2', broken);
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    const [second, first] = registry.list();
    expect(first).toMatchObject({ version: '1', state: 'ready' });
    expect(second).toMatchObject({ version: '2', state: 'refused' });
    expect(second?.reason).toMatch(/onnx\/model.onnx/);
    expect(seen.filter((s) => s.kind === 'onRefused')).toEqual([
      { kind: 'onRefused', event: { name: 'm', version: '2', code: 'invalid_manifest', reason: second?.reason } },
    ]);
    await registry.rescan();
    expect(seen.filter((s) => s.kind === 'onRefused')).toHaveLength(1);
  });

  it('that was refused is admitted once other files stand there', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    await dropVersion(folder, 'm', '2', broken);
    const registry = await openRegistry(folder);
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    await writeExport(join(folder, 'm', '2'));
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@2');
  });

  it('that stable names and admission refuses leaves the one before, also after that one left the memory', async () => {
    const folder = await scratch();
    for (const version of ['1', '3']) await dropVersion(folder, 'm', version);
    await dropVersion(folder, 'm', '2', broken);
    await dropVersion(folder, 'other', '1');
    await label(folder, 'm', { stable: '1' });
    const registry = await openRegistry(folder, { memoryBytes: 15_000 });
    (await registry.acquire('m')).release();
    await label(folder, 'm', { stable: '2' });
    await registry.rescan();
    (await registry.acquire('m')).release();
    (await registry.acquire('other')).release();
    expect(registry.list().find((s) => s.name === 'm' && s.version === '1')?.state).toBe('available');
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });

  it('a registry opened with a refused stable version says so instead of guessing', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    await dropVersion(folder, 'm', '2', broken);
    await label(folder, 'm', { stable: '2' });
    await expect((await openRegistry(folder)).acquire('m')).rejects.toMatchObject({ code: 'model_refused' });
  });

  it('that failed for another reason than its files is tried again later', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const pool = fakePool();
    let now = 0;
    const registry = await openRegistry(folder, { pool, now: () => now });
    pool.onLoad = () => {
      throw new WinnowError('host_lost', { reason: 'killed' });
    };
    await expect(registry.acquire('m')).rejects.toThrow(/host was lost/);
    pool.onLoad = () => {};
    await expect(registry.acquire('m')).rejects.toMatchObject({ code: 'model_refused' });
    expect(pool.log).toHaveLength(1);
    now = 30_000;
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });
});

describe('changes of the folder', () => {
  it('other files under the same version are loaded beside the old ones, under another key', async () => {
    const folder = await scratch();
    const pool = fakePool();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { pool });
    const before = await registry.acquire('m');
    await rm(join(folder, 'm', '1'), { recursive: true });
    await dropVersion(folder, 'm', '1', { bias: 5 });
    await registry.rescan();
    const after = await registry.acquire('m');
    expect([before.version.key, after.version.key]).toEqual(['m@1', 'm@1#1']);
    expect(before.version.sha256).not.toBe(after.version.sha256);
    expect([...pool.loaded.keys()]).toEqual(['m@1', 'm@1#1']);
    before.release();
    await registry.rescan();
    expect([...pool.loaded.keys()]).toEqual(['m@1#1']);
  });

  it('broken files under the same version leave the old ones serving, and load says why', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder);
    (await registry.acquire('m')).release();
    await writeFile(join(folder, 'm', '1', 'onnx', 'model.onnx'), 'broken');
    await expect(registry.load('m')).rejects.toMatchObject({ code: 'model_refused' });
    expect(registry.list()[0]).toMatchObject({ state: 'ready', reason: expect.stringContaining('still serves') });
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });

  it('a version that is gone finishes its work and leaves; so does a model', async () => {
    const folder = await scratch();
    const pool = fakePool();
    const { observer, until } = recorder();
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await dropVersion(folder, 'other', '1');
    const registry = await openRegistry(folder, { pool, observer });
    const lease = await registry.acquire('m');
    await rm(join(folder, 'm', '2'), { recursive: true });
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    expect([...pool.loaded.keys()]).toEqual(['m@2', 'm@1']);
    lease.release();
    expect(await until('onUnloaded')).toMatchObject({ version: { key: 'm@2' }, cause: 'removed' });
    await rm(join(folder, 'm'), { recursive: true });
    await registry.rescan();
    await expect(registry.acquire('m')).rejects.toMatchObject({ code: 'unknown_model' });
    expect(registry.list().filter(({ name }) => name === 'm')).toEqual([]);
  });

  it('an empty folder is a problem: what is loaded goes on serving, and follows the folder again when models are back', async () => {
    const folder = await scratch();
    const { observer, until } = recorder();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { observer });
    (await registry.acquire()).release();
    await expect(registry.checkFiles()).resolves.toBeUndefined();
    await rename(join(folder, 'm'), join(folder, '.m'));
    await registry.rescan();
    expect(await until('onProblem')).toMatchObject({ reason: expect.stringContaining('got an empty folder') });
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    await expect(registry.checkFiles()).rejects.toMatchObject({ code: 'model_not_ready' });
    await rename(join(folder, '.m'), join(folder, 'm'));
    await registry.rescan();
    await expect(registry.checkFiles()).resolves.toBeUndefined();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });

  it('the files of the default model are missed when they are gone or empty', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    await dropVersion(folder, 'other', '1');
    const registry = await openRegistry(folder, { defaultModel: 'm:stable' });
    await label(folder, 'm', { stable: '1' });
    await registry.rescan();
    (await registry.acquire()).release();
    const file = join(folder, 'm', '1', 'onnx', 'model.onnx');
    await writeFile(file, '');
    await expect(registry.checkFiles()).rejects.toThrow('is empty or no file');
    await rm(file);
    await expect(registry.checkFiles()).rejects.toThrow('cannot be read: ENOENT');
  });

  it('labels that cannot be read leave the ones known before', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await label(folder, 'm', { stable: '1' });
    const registry = await openRegistry(folder, { observer });
    await writeFile(join(folder, 'm', 'labels.json'), '{"stable": ');
    await registry.rescan();
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    expect(seen.filter((s) => s.kind === 'onProblem')).toHaveLength(1);
  });

  it('a default that cannot be read leaves the one known before', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    for (const name of ['a', 'b']) await dropVersion(folder, name, '1');
    await writeFile(join(folder, 'default.json'), '{"model": "b"}');
    const registry = await openRegistry(folder, { observer });
    for (const text of ['', '{"model": ', '{"model": 1}']) {
      await writeFile(join(folder, 'default.json'), text);
      await registry.rescan();
      expect(registry.defaultModel).toBe('b');
    }
    // Two faults: text that is no JSON is told once.
    expect(seen.filter((s) => s.kind === 'onProblem')).toHaveLength(2);
    await rm(join(folder, 'default.json'));
    await registry.rescan();
    expect(registry.defaultModel).toBe('a');
  });

  it('a model that comes with labels which cannot be read is not served until they can be', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    await dropVersion(folder, 'a', '1');
    const registry = await openRegistry(folder, { observer });
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await writeFile(join(folder, 'm', 'labels.json'), '{"stable": ');
    await registry.rescan();
    await expect(registry.acquire('m')).rejects.toMatchObject({ code: 'unknown_model' });
    expect(JSON.stringify(seen)).toContain('m/labels.json');
    await label(folder, 'm', { stable: '1' });
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });

  it('a label moved by another process is followed when its version is admitted', async () => {
    const folder = await scratch();
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await dropVersion(folder, 'm', '3', broken);
    await label(folder, 'm', { stable: '1', canary: '1' });
    const registry = await openRegistry(folder);
    (await registry.acquire('m')).release();
    (await registry.acquire('m:canary')).release();
    await relabel(folder, 'm', 'stable', '2');
    await relabel(folder, 'm', 'canary', '3');
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@2');
    expect((await registry.acquire('m:canary')).version.key).toBe('m@1');
  });

  it('a registry folder that goes away for a moment changes nothing', async () => {
    const folder = await scratch();
    const { observer, until } = recorder();
    const models = join(folder, 'models');
    await dropVersion(models, 'm', '1');
    const registry = await openRegistry(models, { observer });
    (await registry.acquire('m')).release();
    await rename(models, join(folder, 'away'));
    await registry.rescan();
    expect((await until('onProblem')).where).toBe(models);
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });
});

describe('watching', () => {
  it('serves what a rename completes, by event and without polling', async () => {
    const folder = await scratch();
    const { observer, until } = recorder();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { observer, watch: true, pollMs: 0 });
    await serving(registry, 'm');
    await dropVersion(folder, 'm', '2');
    await until('onRouted', (e) => e.to === '2');
    expect(await serving(registry, 'm')).toBe('m@2');
    await relabel(folder, 'm', 'stable', '1');
    await until('onRouted', (e) => e.from === '2' && e.to === '1');
    expect(await serving(registry, 'm')).toBe('m@1');
    await dropVersion(folder, 'new', '1', broken);
    expect(await until('onRefused')).toMatchObject({ name: 'new', version: '1' });
    await dropVersion(folder, 'other', '1');
    await until('onLoaded', (e) => e.version.name === 'other');
    await rm(join(folder, 'm', '2'), { recursive: true });
    await until('onUnloaded', (e) => e.version.key === 'm@2' && e.cause === 'removed');
  });

  it('finds by polling changes without an event', async () => {
    const folder = await scratch();
    const { observer, until } = recorder();
    await dropVersion(folder, 'm', '1');
    await openRegistry(folder, { observer, watch: true, pollMs: 10 });
    // Too deep for the watcher.
    await writeFile(join(folder, 'm', '1', 'onnx', 'model.onnx'), 'broken');
    await until('onScanned');
    const registry = await openRegistry(folder);
    await expect(registry.acquire('m')).rejects.toMatchObject({ code: 'model_refused' });
  });
});

describe('labels under load', () => {
  it('1,000 relabels fail no request, and every lease is of a version that was labeled', async () => {
    const folder = await scratch('memory');
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await label(folder, 'm', { stable: '1' });
    const pool = fakePool();
    const registry = await openRegistry(folder, { pool });
    let running = true;
    const served = new Map<string, number>();
    const client = async () => {
      while (running) {
        const { version, release } = await registry.acquire('m');
        expect(pool.loaded.has(version.key)).toBe(true);
        await pool.run(version.key, [{ ids: new Int32Array([1, 2]), secondSegment: 1 }]);
        await new Promise((resolve) => setImmediate(resolve));
        served.set(version.version, (served.get(version.version) ?? 0) + 1);
        release();
      }
    };
    const clients = Array.from({ length: 4 }, client);
    for (let i = 1; i <= 1000; i++) await registry.setLabel('m', 'stable', i % 2 === 0 ? '1' : '2');
    running = false;
    await Promise.all(clients);
    expect(served.get('1')).toBeGreaterThan(0);
    expect(served.get('2')).toBeGreaterThan(0);
    expect(JSON.parse(await readFile(join(folder, 'm', 'labels.json'), 'utf8'))).toEqual({ stable: '1' });
    expect(pool.log.filter((l) => l.startsWith('unload'))).toEqual([]);
    expect((await registry.acquire('m')).version.key).toBe('m@1');
  });

  it('labels set at once from many sides are all kept', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder);
    const names = Array.from({ length: 20 }, (_, i) => `l${i}`);
    await Promise.all(names.map((name) => registry.setLabel('m', name, '1')));
    expect(Object.keys(JSON.parse(await readFile(join(folder, 'm', 'labels.json'), 'utf8')) as object).sort()).toEqual(
      names.sort(),
    );
  });

  it('versions come and go under load without a failed request', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const pool = fakePool();
    const registry = await openRegistry(folder, { pool });
    let running = true;
    const client = async () => {
      while (running) {
        const { version, release } = await registry.acquire('m');
        await new Promise((resolve) => setImmediate(resolve));
        expect(pool.loaded.has(version.key)).toBe(true);
        release();
      }
    };
    const clients = Array.from({ length: 4 }, client);
    for (let version = 2; version <= 20; version++) {
      await dropVersion(folder, 'm', String(version), version % 3 === 0 ? broken : { bias: version });
      await registry.rescan();
      if (version % 5 === 0) await rm(join(folder, 'm', String(version)), { recursive: true });
    }
    running = false;
    await Promise.all(clients);
    expect(pool.loaded.size).toBeLessThanOrEqual(3);
  });
});
