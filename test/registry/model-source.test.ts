import { cp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { writeGraph } from '../../src/main/write-graph.ts';
import { readManifest } from '../../src/registry/manifest.ts';
import { ensureModel, type SourceOptions, type WithDeps } from '../../src/registry/model-source.ts';
import type { AdmissionDeps } from '../../src/registry/version-admission.ts';
import { openHubServer } from '../support/hub-server.ts';
import { writeTinyBiEncoder } from '../support/tiny-bi-encoder.ts';
import { scratch, tinyGraph, tokenizers, writeExport } from './support.ts';

const quiet = () => ({ update() {}, stop() {} });

async function open() {
  const [root, registry, home] = [await scratch(), await scratch(), await scratch()];
  const folder = await writeExport(join(root, 'My model'));
  await writeExport(join(root, 'ranker'));
  const server = await openHubServer(root);
  onTestFinished(() => server.close());
  let imports = 0;
  const withDeps =
    (more: Partial<AdmissionDeps>): WithDeps =>
    async (work) => {
      imports++;
      const pool = await createLocalPool({ threads: 1 });
      try {
        return await work({ pool, tokenizers, ...more });
      } finally {
        await pool.close();
      }
    };
  const options: SourceOptions = {
    env: { HF_ENDPOINT: server.url, HF_HOME: home },
    program: '1',
    startProgress: quiet,
    retryMs: 1,
  };
  const ensure = (text: string, more: Partial<SourceOptions> = {}, deps: Partial<AdmissionDeps> = {}) =>
    ensureModel(text, registry, withDeps(deps), { ...options, ...more });
  return { root, registry, folder, server, ensure, imports: () => imports, env: options.env };
}

describe('a folder that is named as a model', () => {
  it('is imported once, and anew when its content changes', async () => {
    const { folder, registry, ensure, imports } = await open();
    const first = await ensure(folder);
    expect(first).toMatchObject({
      name: expect.stringMatching(/^My-model-[0-9a-f]{8}$/),
      aliases: ['My model'],
      isNew: true,
    });
    expect(await ensure(folder)).toEqual({ ...first, isNew: false });
    expect(imports()).toBe(1);
    await writeFile(join(folder, 'onnx/model.onnx'), tinyGraph({ bias: 1 }));
    const second = await ensure(folder);
    expect(second.name).not.toBe(first.name);
    expect((await readdir(registry)).sort()).toEqual([first.name, second.name].sort());
    await cp(folder, `${folder}-copy`, { recursive: true });
    expect((await ensure(`${folder}-copy`)).name).toMatch(/^My-model-copy-/);
  });

  it('is another model where it is imported as a bi-encoder', async () => {
    const { root, registry, ensure } = await open();
    const folder = await writeTinyBiEncoder(join(root, 'bare'));
    const deps = { writeGraph };
    await expect(ensure(folder, {}, deps)).rejects.toThrow(/import its folder with --bi-encoder/);
    const sides = { kind: 'bi-encoder', pooling: 'mean', queryPrefix: 'q: ' } as const;
    const mean = await ensure(folder, { sides }, deps);
    expect(await readManifest(join(registry, mean.name, '1'))).toMatchObject({
      kind: 'bi-encoder',
      queryPrefix: 'q: ',
    });
    expect((await ensure(folder, { sides }, deps)).isNew).toBe(false);
    const cls = await ensure(folder, { sides: { ...sides, pooling: 'cls' } }, deps);
    expect(cls).toMatchObject({ isNew: true });
    expect(cls.name).not.toBe(mean.name);
  });

  it('has the name of its model where it is a version of a registry', async () => {
    const { folder, root, ensure } = await open();
    await cp(folder, join(root, 'own', '3'), { recursive: true });
    expect((await ensure(join(root, 'own', '3'))).aliases).toEqual(['own']);
  });

  it('is imported anew by another version of the program', async () => {
    const { folder, ensure, imports } = await open();
    await ensure(folder);
    expect((await ensure(folder, { program: '2' })).isNew).toBe(true);
    expect(imports()).toBe(2);
  });

  it('needs a registry folder that can be written', async () => {
    const { folder, root } = await open();
    const file = join(root, 'file');
    await writeFile(file, '');
    const options = { env: {}, program: '1' };
    const none: WithDeps = async () => {
      throw new Error('not reached');
    };
    await expect(ensureModel(folder, join(file, 'registry'), none, options)).rejects.toThrow(
      /expected a folder that can be written \(set --models to one\), got ENOTDIR/,
    );
  });

  it('leaves nothing behind where it is refused', async () => {
    const { root, registry, ensure } = await open();
    const headless = await writeExport(join(root, 'headless'), { output: 'last_hidden_state', width: 4 });
    await expect(ensure(headless)).rejects.toThrow(/classification head/);
    expect(await readdir(registry)).toEqual([]);
  });
});

describe('a model of the hub that is named as a model', () => {
  it('is loaded and imported once a commit, under the names that clients write', async () => {
    const { registry, server, ensure, imports } = await open();
    const model = await ensure('acme/ranker');
    expect(model.aliases).toEqual(['acme/ranker', 'ranker']);
    expect((await readManifest(join(registry, model.name, '1'))).source).toBe(
      `${server.url}/acme/ranker@${server.commit}`,
    );
    expect(await ensure('acme/ranker@v1')).toMatchObject({
      name: model.name,
      isNew: false,
      aliases: ['acme/ranker', 'ranker', 'acme/ranker@v1'],
    });
    expect(imports()).toBe(1);
  });

  it('is found without the network when it was loaded before', async () => {
    const { ensure, env } = await open();
    const { name } = await ensure('acme/ranker');
    expect(await ensure('acme/ranker', { env: { ...env, HF_HUB_OFFLINE: '1' } })).toMatchObject({ name, isNew: false });
  });

  it('is found in the cache by its folder too', async () => {
    const { ensure, env } = await open();
    await ensure('acme/ranker');
    const cached = await ensure(join(env.HF_HOME!, 'hub', 'models--acme--ranker'));
    expect(cached).toMatchObject({ aliases: ['ranker'], isNew: true });
  });
});

it.each(['ranker', './nowhere', '/no/such/folder', 'a/b/c', 'acme/ranker@../x', ''])('%j is neither', async (text) => {
  const { ensure } = await open();
  await expect(ensure(text)).rejects.toThrow(
    /expected a folder that exists, or a model of the hub as ORGANIZATION\/MODEL/,
  );
});
