import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { WinnowError } from '../../src/errors.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { modelRegistryContract } from '../contracts/model-registry.ts';
import { dropVersion, fakePool, label, openRegistry, recorder, scratch, tinyGraph, writeExport } from './support.ts';

async function openContractRegistry() {
  const folder = await scratch();
  await dropVersion(folder, 'alpha', '1', { bias: 1 });
  await dropVersion(folder, 'alpha', '2', { bias: 2 });
  await label(folder, 'alpha', { stable: '1', canary: '2' });
  await dropVersion(folder, 'beta', '9', { bias: 9 });
  await dropVersion(folder, 'beta', '10', { bias: 10 });
  await dropVersion(folder, 'broken', '1', { constant: true });
  const pool = await createLocalPool({ threads: 1 });
  onTestFinished(() => pool.close());
  return openRegistry(folder, { pool });
}

modelRegistryContract('the folder registry', openContractRegistry);

describe('opening', () => {
  it('names a folder that is not there', async () => {
    await expect(openRegistry(join(await scratch(), 'nowhere'))).rejects.toMatchObject({ code: 'invalid_input' });
  });

  it('takes an empty folder, and a model that comes later', async () => {
    const folder = await scratch();
    const registry = await openRegistry(folder);
    expect(registry.defaultModel).toBeUndefined();
    await expect(registry.acquire()).rejects.toMatchObject({ code: 'model_not_ready' });
    await dropVersion(folder, 'm', '1');
    await registry.rescan();
    expect((await registry.acquire()).version.key).toBe('m@1');
  });

  it('answers requests without a model by what the default names', async () => {
    const folder = await scratch();
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    await label(folder, 'm', { canary: '1' });
    const by = async (defaultModel: string) =>
      (await (await openRegistry(folder, { defaultModel })).acquire()).version.key;
    expect(await by('m')).toBe('m@2');
    expect(await by('m@1')).toBe('m@1');
    expect(await by('m:canary')).toBe('m@1');
    await expect(by('x')).rejects.toMatchObject({ code: 'unknown_model' });
  });

  it('lists the names of aliases and cascades where a name means nothing', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const names = { aliases: { 'org/m': 'm' }, cascades: { accurate: [{ model: 'm' }, { model: 'm' }] } };
    const registry = await openRegistry(folder, names);
    await expect(registry.acquire('Accurate')).rejects.toThrow(
      'expected one of m, org/m, accurate, got model Accurate',
    );
  });

  it('finds the default in default.json of the folder, and goes on without where it names none of the models', async () => {
    const folder = await scratch();
    for (const name of ['a', 'b']) await dropVersion(folder, name, '1');
    const { observer, seen } = recorder();
    const registry = await openRegistry(folder, { observer });
    const said = async (text: string) => {
      await writeFileAtomic(join(folder, 'default.json'), text);
      await registry.rescan();
      return registry.defaultModel;
    };
    expect(registry.defaultModel).toBe('a');
    expect(await said('{"model": "b"}')).toBe('b');
    expect((await registry.acquire()).version.key).toBe('b@1');
    expect((await openRegistry(folder, { defaultModel: 'a' })).defaultModel).toBe('a');
    expect(await said('{"model": "c"}')).toBe('a');
    expect(await said('{"model": 1}')).toBe('a');
    expect(await said('b')).toBe('a');
    const problems = seen.filter((line) => JSON.stringify(line).includes('default.json'));
    expect(JSON.stringify(problems)).toContain('expected one of the models, got c');
    expect(JSON.stringify(problems)).toContain('expected the name of a model');
    expect(problems).toHaveLength(3);
  });

  it('an export dropped straight into the model folder is version 1, later versions stand beside it', async () => {
    const folder = await scratch();
    await writeExport(join(folder, 'flat'));
    await mkdir(join(folder, 'flat', 'openvino'));
    const registry = await openRegistry(folder);
    expect((await registry.acquire('flat')).version).toMatchObject({ key: 'flat@1', folder: join(folder, 'flat') });
    await publish(await writeExport(await scratch(), { bias: 1 }), folder, 'flat', { label: 'stable' });
    await registry.rescan();
    expect((await registry.acquire('flat')).version.key).toBe('flat@2');
    expect(registry.list().map((s) => s.version)).toEqual(['2', '1']);
    expect((await registry.acquire('flat@1')).version.key).toBe('flat@1');
  });
});

describe('memory', () => {
  async function three() {
    const folder = await scratch();
    for (const name of ['a', 'b', 'c']) await dropVersion(folder, name, '1');
    return folder;
  }

  const touch = async (registry: Awaited<ReturnType<typeof openRegistry>>, name: string) =>
    (await registry.acquire(name)).release();

  it('lets the least recently used go, and loads it again when it is asked for', async () => {
    const pool = fakePool(() => 10_000, 2);
    let now = 0;
    const { observer, seen } = recorder();
    const registry = await openRegistry(await three(), { pool, memoryBytes: 40_000, now: () => ++now, observer });
    for (const name of ['a', 'b', 'a', 'c']) await touch(registry, name);
    expect([...pool.loaded.keys()]).toEqual(['a@1', 'c@1']);
    expect(seen.filter((s) => s.kind === 'onUnloaded')).toMatchObject([
      { event: { version: { key: 'b@1' }, cause: 'memory' } },
    ]);
    expect(registry.list().find((s) => s.name === 'b')?.state).toBe('available');
    await touch(registry, 'b');
    expect([...pool.loaded.keys()]).toEqual(['c@1', 'b@1']);
  });

  it('spares pinned models and those at work', async () => {
    const pool = fakePool();
    let now = 0;
    const registry = await openRegistry(await three(), { pool, memoryBytes: 20_000, pinned: ['a'], now: () => ++now });
    await touch(registry, 'a');
    const lease = await registry.acquire('b');
    await expect(registry.acquire('c')).rejects.toMatchObject({ code: 'model_not_ready' });
    expect(registry.list().find((s) => s.name === 'c')).toMatchObject({
      state: 'available',
      reason: expect.stringMatching(/pinned/),
    });
    lease.release();
    await touch(registry, 'c');
    expect([...pool.loaded.keys()]).toEqual(['a@1', 'c@1']);
  });

  it('a model that took more than its file said makes others go', async () => {
    const pool = fakePool((spec) => (spec.key === 'c@1' ? 90_000 : 10_000));
    let now = 0;
    const registry = await openRegistry(await three(), { pool, memoryBytes: 95_000, now: () => ++now });
    for (const name of ['a', 'b', 'c']) await touch(registry, name);
    expect([...pool.loaded.keys()]).toEqual(['c@1']);
  });

  it('an early score counts once it is loaded, makes others go, and goes with its version', async () => {
    const folder = await three();
    const pruning = {
      ...{ sha256: createHash('sha256').update(tinyGraph()).digest('hex'), value: 'x', weights: '', lists: 1 },
      ...{ counts: [10], recalls: [0.9], margins: [[1]], share: 0.1 },
    };
    const files = { 'model.json': JSON.stringify({ format: 1, pruning }) };
    await dropVersion(folder, 'p', '1', { files });
    const pool = fakePool(({ early }) => (early ? 4000 : 10_000));
    let now = 0;
    const { observer, seen } = recorder();
    const registry = await openRegistry(folder, { pool, memoryBytes: 31_000, now: () => ++now, observer });
    for (const name of ['a', 'b']) await touch(registry, name);
    const lease = await registry.acquire('p');
    const bytes = () => registry.list().find(({ name }) => name === 'p')?.bytes;
    expect([bytes(), pool.loaded.size]).toEqual([10_000, 3]);
    expect(await lease.version.pruning!.load()).toBe('p@1~early');
    expect(bytes()).toBe(14_000);
    expect(seen.filter(({ kind }) => kind === 'onGrown')).toMatchObject([
      { event: { version: { key: 'p@1' }, bytes: 14_000 } },
    ]);
    lease.release();
    expect([...pool.loaded.keys()]).toEqual(['b@1', 'p@1', 'p@1~early']);
    await registry.unload('p');
    expect([...pool.loaded.keys()]).toEqual(['b@1']);
  });
});

describe('load and unload', () => {
  it('concurrent loads of a version are one load, and its failure rejects all of them', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const pool = fakePool();
    pool.onLoad = () => {
      throw new Error('out of memory');
    };
    const registry = await openRegistry(folder, { pool });
    const all = Promise.allSettled(Array.from({ length: 10 }, () => registry.acquire('m')));
    expect((await all).map((r) => r.status === 'rejected' && (r.reason as WinnowError).code)).toEqual(
      new Array(10).fill('model_refused'),
    );
    expect(pool.log).toEqual(['load m@1']);
  });

  it('unload while loading wins', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    const pool = fakePool();
    const gate = Promise.withResolvers<void>();
    const loading = Promise.withResolvers<void>();
    pool.onLoad = () => {
      loading.resolve();
      return gate.promise;
    };
    const registry = await openRegistry(folder, { pool });
    const lease = registry.acquire('m');
    const failed = expect(lease).rejects.toMatchObject({ code: 'model_not_ready' });
    await loading.promise;
    const unloaded = registry.unload('m');
    gate.resolve();
    await failed;
    await unloaded;
    expect(pool.loaded.size).toBe(0);
    expect(registry.list()[0]?.state).toBe('unloaded');
  });

  it('one version unloaded by request is passed over until it is loaded by request', async () => {
    const folder = await scratch();
    for (const version of ['1', '2']) await dropVersion(folder, 'm', version);
    const registry = await openRegistry(folder);
    (await registry.acquire('m')).release();
    await registry.unload('m', '2');
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    await expect(registry.acquire('m@2')).rejects.toMatchObject({ code: 'model_not_ready' });
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@1');
    await registry.load('m', '2');
    expect((await registry.acquire('m')).version.key).toBe('m@2');
  });

  it('a model unloaded by request does not come back with a new version', async () => {
    const folder = await scratch();
    const pool = fakePool();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { pool });
    (await registry.acquire('m')).release();
    await registry.unload('m');
    await dropVersion(folder, 'm', '2');
    await registry.rescan();
    expect(pool.loaded.size).toBe(0);
    await expect(registry.acquire('m')).rejects.toMatchObject({ code: 'model_not_ready' });
    expect((await registry.load('m')).find((s) => s.version === '2')?.state).toBe('ready');
  });

  it('load again with the same files does nothing; unknown names are named', async () => {
    const folder = await scratch();
    const pool = fakePool();
    await dropVersion(folder, 'm', '1');
    const registry = await openRegistry(folder, { pool });
    await registry.load('m');
    await registry.load('m', '1');
    expect(pool.log).toEqual(['load m@1']);
    await expect(registry.load('x')).rejects.toMatchObject({ code: 'unknown_model' });
    await expect(registry.load('m', '7')).rejects.toMatchObject({ code: 'unknown_version' });
    await expect(registry.unload('x')).rejects.toMatchObject({ code: 'unknown_model' });
  });

  it('a pool that cannot unload is reported, not thrown', async () => {
    const folder = await scratch();
    const { observer, until } = recorder();
    await dropVersion(folder, 'm', '1');
    const pool = fakePool();
    const registry = await openRegistry(folder, { pool, observer });
    (await registry.acquire('m')).release();
    pool.unload = () => Promise.reject(new Error('no host'));
    await registry.unload('m');
    expect(await until('onProblem')).toMatchObject({ where: 'm@1', reason: 'unload: no host' });
  });
});
