import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importFolder } from '../../src/registry/import-version.ts';
import { readManifest } from '../../src/registry/manifest.ts';
import { readCatalog } from '../../src/registry/registry-catalog.ts';
import { verifyVersions, versionsNamed } from '../../src/registry/verify-versions.ts';
import {
  dropVersion,
  fakePool,
  label,
  openRegistry,
  recorder,
  scratch,
  serving,
  tokenizers,
  writeExport,
} from './support.ts';

const deps = () => ({ pool: fakePool(), tokenizers });

const REVISION = '0123456789abcdef0123456789abcdef01234567';

/** Makes a model's part of the hub's cache, as huggingface_hub does: files in blobs/, links to them in a snapshot. */
async function hubCache(parent: string, name = 'models--org--m', revision = REVISION): Promise<string> {
  const cache = join(parent, name);
  const snapshot = await writeExport(join(cache, 'snapshots', revision), {});
  await mkdir(join(cache, 'blobs'), { recursive: true });
  await mkdir(join(cache, 'refs'), { recursive: true });
  await writeFile(join(cache, 'refs', 'main'), revision);
  for (const entry of await readdir(snapshot, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const blob = join(cache, 'blobs', Buffer.from(relative(snapshot, path)).toString('hex'));
    await rename(path, blob);
    await symlink(relative(dirname(path), blob), path);
  }
  return cache;
}

const importing = (source: string, registry: string, name = 'm') => importFolder(source, registry, name, deps());

const faultOf = (done: Promise<unknown>) =>
  done.then(
    () => 'no fault',
    (error: Error) => error.message,
  );

describe('import from the cache of the hub', () => {
  it('copies a snapshot as plain files with its origin, and leaves nothing else', async () => {
    const [parent, registry] = [await scratch(), await scratch()];
    const cache = await hubCache(parent);
    const { folder } = await importing(join(cache, 'snapshots', REVISION), registry);
    expect((await readdir(folder, { recursive: true })).sort()).toEqual([
      'config.json',
      'model.json',
      'onnx',
      'onnx/model.onnx',
      'tokenizer_config.json',
      'vocab.txt',
    ]);
    expect((await readdir(folder, { withFileTypes: true })).some((entry) => entry.isSymbolicLink())).toBe(false);
    expect((await readManifest(folder)).source).toBe(`org/m@${REVISION}`);
    expect(await readdir(registry)).toEqual(['m']);
  });

  it('takes the revision of main, else the only one, and refuses several', async () => {
    const [parent, registry] = [await scratch(), await scratch()];
    const cache = await hubCache(parent);
    await importing(cache, registry);
    await rm(join(cache, 'refs'), { recursive: true });
    await importing(cache, registry);
    await mkdir(join(cache, 'snapshots', 'other'));
    expect(await faultOf(importing(cache, registry))).toMatch(/one snapshot.*snapshots\/other/);
    expect(await faultOf(importing(parent, registry))).toMatch(/one model of the cache, got models--org--m/);
    expect(await readdir(join(registry, 'm'))).toEqual(['1', '2']);
  });

  it('follows a link to the snapshot itself', async () => {
    const [parent, registry] = [await scratch(), await scratch()];
    const cache = await hubCache(parent);
    await symlink(join(cache, 'snapshots', REVISION), join(parent, 'current'));
    expect((await importing(join(parent, 'current'), registry)).version).toBe('1');
  });

  it('follows links into blobs/ of the same cache only', async () => {
    const [parent, registry] = [await scratch(), await scratch()];
    const cache = await hubCache(parent);
    const other = await hubCache(parent, 'models--org--other');
    const snapshot = join(cache, 'snapshots', REVISION);
    await writeFile(join(parent, 'secret'), '{}');
    await mkdir(join(parent, 'blobs'));
    const targets = [
      join(parent, 'secret'),
      join(other, 'blobs', Buffer.from('config.json').toString('hex')),
      join(cache, 'blobs', '..', '..', 'secret'),
      join(cache, 'refs', 'main'),
      join(cache, 'blobs'),
      join(cache, 'blobs', 'absent'),
    ];
    for (const target of targets) {
      await rm(join(snapshot, 'more.json'), { force: true });
      await symlink(target, join(snapshot, 'more.json'));
      expect(await faultOf(importing(snapshot, registry))).toMatch(
        /more\.json: expected .*(outside blobs|nothing|a file)/,
      );
    }
    // A blob that is itself a link out of the cache.
    await symlink(join(parent, 'secret'), join(cache, 'blobs', 'away'));
    await rm(join(snapshot, 'more.json'));
    await symlink(join(cache, 'blobs', 'away'), join(snapshot, 'more.json'));
    expect(await faultOf(importing(snapshot, registry))).toMatch(/outside blobs/);
    expect(await readdir(registry)).toEqual([]);
  });

  it('is for caches only: links of another folder are refused with the cure', async () => {
    const [source, registry] = [await writeExport(await scratch(), {}), await scratch()];
    await writeFile(join(registry, '.elsewhere'), '{}');
    await symlink(join(registry, '.elsewhere'), join(source, 'more.json'));
    expect(await faultOf(importing(source, registry))).toMatch(/more\.json: .*symbolic link.*cp -rL/);
  });
});

describe('links in a registry folder', () => {
  const problemsIn = async (folder: string) => (await versionsNamed(folder, undefined)).problems;

  it('a cache of the hub, below it or as the folder itself, is a problem with the cure', async () => {
    const folder = await scratch();
    const cache = await hubCache(folder);
    const command = expect.stringContaining(`winnow models import ${cache} NAME`);
    expect(await problemsIn(folder)).toEqual([{ where: 'models--org--m', reason: command }]);
    expect(await problemsIn(cache)).toEqual([{ where: cache, reason: command }]);
    expect((await readCatalog(folder)).models).toEqual([]);
  });

  it('an export in the place of a registry is a problem with the cure', async () => {
    const folder = await writeExport(await scratch(), {});
    expect((await problemsIn(folder))[0]!.reason).toMatch(/got the files of one model; run `winnow models import/);
  });

  it('linked models, versions and files are problems or refusals with the cure', async () => {
    const folder = await scratch();
    const store = await writeExport(await scratch(), {});
    await mkdir(join(folder, 'm'));
    await symlink(store, join(folder, 'm', '1'));
    await symlink(join(folder, 'm'), join(folder, 'linked'));
    const version = await dropVersion(folder, 'n', '1');
    await rm(join(version, 'config.json'));
    await symlink(join(store, 'config.json'), join(version, 'config.json'));
    const { versions, problems } = await versionsNamed(folder, undefined);
    expect(problems.map(({ where }) => where).sort()).toEqual(['linked', 'm/1']);
    for (const { reason } of problems) expect(reason).toMatch(/symbolic link; .*cp -rL/);
    for await (const found of verifyVersions(versions, deps()))
      expect(found).toMatchObject({ name: 'n', admitted: false, reason: expect.stringMatching(/cp -rL/) });
  });

  it('linked files of releases are refused with the cure', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    await writeFile(join(folder, '.labels'), '{"stable":"1"}');
    await symlink(join(folder, '.labels'), join(folder, 'm', 'labels.json'));
    expect((await problemsIn(folder))[0]!.reason).toMatch(/symbolic link; replace it by a copy.*cp -L/);
  });
});

describe('a registry folder that is a link', () => {
  it.each([
    ['itself', (link: string) => link],
    ['above it', (link: string) => join(link, 'models')],
  ])('%s, swapped by rename, is followed', async (_, folderOf) => {
    const root = await scratch();
    for (const [revision, bias] of [
      ['..a', 1],
      ['..b', 2],
    ] as const) {
      const folder = folderOf(join(root, revision));
      await mkdir(folder, { recursive: true });
      await dropVersion(folder, 'm', '1', { bias });
      await dropVersion(folder, 'm', '2', { bias });
      await label(folder, 'm', { stable: revision === '..a' ? '1' : '2' });
    }
    // `..data` is the name that Kubernetes swaps in the folder of a ConfigMap.
    await symlink('..a', join(root, '..data'));
    const seen = recorder();
    const registry = await openRegistry(folderOf(join(root, '..data')), {
      watch: true,
      pollMs: 50,
      observer: seen.observer,
    });
    expect(await serving(registry, 'm')).toBe('m@1');
    await symlink('..b', join(root, '..next'));
    await rename(join(root, '..next'), join(root, '..data'));
    await seen.until('onRouted', ({ to }) => to === '2');
    expect(await serving(registry, 'm')).toBe('m@2');
    await rm(join(root, '..a'), { recursive: true });
    await registry.rescan();
    await registry.checkFiles();
  });
});

describe('a version mounted from a ConfigMap', () => {
  it('is served through links inside it, and a swap of its files is noticed', async () => {
    const folder = await scratch();
    const version = await dropVersion(folder, 'm', '1', { file: 'model.onnx' });
    await rm(join(version, 'onnx'), { recursive: true });
    const names = await readdir(version);
    for (const [revision, bias] of [
      ['..1', 1],
      ['..2', 2],
    ] as const) {
      await writeExport(join(version, revision), { file: 'model.onnx', bias });
      await rm(join(version, revision, 'onnx'), { recursive: true });
    }
    for (const name of names) {
      await rm(join(version, name));
      await symlink(join('..data', name), join(version, name));
    }
    await symlink('..1', join(version, '..data'));
    const registry = await openRegistry(folder);
    expect(await serving(registry)).toBe('m@1');
    await symlink('..2', join(version, '..next'));
    await rename(join(version, '..next'), join(version, '..data'));
    await registry.rescan();
    expect(await serving(registry)).toBe('m@1#1');
  });
});

describe('releases that name what is not there', () => {
  it('are problems: a label, and the default', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1');
    await label(folder, 'm', { stable: '1', canary: '9' });
    await writeFile(join(folder, 'default.json'), '{"model":"ghost"}');
    expect((await versionsNamed(folder, undefined)).problems).toEqual([
      { where: 'm/labels.json', reason: 'expected one of the versions (1), got 9 (canary)' },
      { where: 'default.json', reason: expect.stringMatching(/got ghost \(there are: m\); .*, m answers requests/) },
    ]);
    expect((await versionsNamed(folder, 'm@1')).problems.map(({ where }) => where)).toEqual(['m/labels.json']);
    expect((await versionsNamed(folder, 'm:canary')).versions).toEqual([]);
    await mkdir(join(folder, 'empty'));
    expect((await versionsNamed(folder, 'empty')).problems).toEqual([
      { where: 'empty', reason: 'expected folders of versions, got none' },
    ]);
  });
});
