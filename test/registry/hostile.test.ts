import { execFileSync } from 'node:child_process';
import { link, mkdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { float32 } from '../../src/onnx/tensor.ts';
import { DEFAULT_LIMITS, type FolderLimits } from '../../src/registry/folder-files.ts';
import { createRegistry } from '../../src/registry/folder-registry.ts';
import { parseManifest } from '../../src/registry/manifest.ts';
import { inspectVersion } from '../../src/registry/version-admission.ts';
import { dropVersion, fakePool, recorder, scratch, tokenizers, writeExport } from './support.ts';

const look = (folder: string, limits: FolderLimits = DEFAULT_LIMITS) =>
  inspectVersion({ folder }, { limits, provider: 'cpu' });

/** A model whose weights lie in a file of the given name, of which at least `length` bytes are needed. */
function graphWithData(location: string, length = 16): Uint8Array {
  const g = new GraphBuilder('data');
  const ids = g.input('input_ids', 'int64', ['n', 's']);
  const table = g.initializer('table', float32([4], [1, 2, 3, 4]));
  g.output(g.reduceSum(g.op('Gather', [table, ids]), [1], true), 'float32', ['n', 1], 'logits');
  return encodeModel(modelOf(g.build()), () => ({ location, offset: 0, length }));
}

const withData = async (location: string, length?: number) =>
  writeExport(await scratch(), { files: { 'onnx/model.onnx': graphWithData(location, length) } });

describe('external data', () => {
  it('beside the graph is found', async () => {
    const folder = await withData('model.onnx_data');
    await writeFile(join(folder, 'onnx', 'model.onnx_data'), new Uint8Array(16));
    expect((await look(folder)).graph).toMatchObject({ external: ['onnx/model.onnx_data'] });
  });

  it('counts in the hash of the graph, which what is kept of passages and pairs depends on', async () => {
    const folder = await withData('model.onnx_data');
    const hashes = async (byte: number) => {
      await writeFile(join(folder, 'onnx', 'model.onnx_data'), new Uint8Array(16).fill(byte));
      return look(folder);
    };
    const [first, second, again] = [await hashes(1), await hashes(2), await hashes(1)];
    expect(second.sha256).toBe(first.sha256);
    expect(second.graphHash).not.toBe(first.graphHash);
    expect(again.graphHash).toBe(first.graphHash);
  });

  it.each(['../config.json', '/etc/passwd', '../../other/1/onnx/weights', 'a/../../x', 'C:\\x', 'x\0y'])(
    'at %j is refused',
    async (location) => {
      await expect(look(await withData(location))).rejects.toMatchObject({ code: 'unsafe_path' });
    },
  );

  it('that is absent or too short is refused', async () => {
    await expect(look(await withData('weights'))).rejects.toThrow(/external data of onnx\/model.onnx/);
    const short = await withData('weights', 1000);
    await writeFile(join(short, 'onnx', 'weights'), new Uint8Array(16));
    await expect(look(short)).rejects.toThrow(/at least 1000 bytes/);
  });

  it('behind a symbolic link that leads out is refused', async () => {
    const folder = await withData('weights');
    await symlink('/etc/hostname', join(folder, 'onnx', 'weights'));
    await expect(look(folder)).rejects.toMatchObject({ code: 'unsafe_path' });
  });
});

describe('what is no plain file', () => {
  it.each(['/etc/passwd', '/dev/zero', '../../../../etc/passwd', 'nowhere', '.', '..', 'loop'])(
    'a link to %s is refused',
    async (target) => {
      const folder = await writeExport(await scratch(), { files: { 'vocab.txt': null } });
      await symlink(target === 'loop' ? 'vocab.txt' : target, join(folder, 'vocab.txt'));
      await expect(look(folder)).rejects.toMatchObject({ code: 'unsafe_path' });
    },
  );

  it('a link that stays inside is followed', async () => {
    const folder = await writeExport(await scratch(), {});
    await symlink('vocab.txt', join(folder, 'vocabulary.txt'));
    expect((await look(folder)).version.files.map((f) => f.path)).toContain('vocabulary.txt');
  });

  it('a folder linked into the folder is refused', async () => {
    const folder = await writeExport(await scratch(), {});
    await symlink(await scratch(), join(folder, 'more'));
    await expect(look(folder)).rejects.toMatchObject({ code: 'unsafe_path' });
  });

  it('a FIFO is refused without waiting for a writer', async () => {
    const folder = await writeExport(await scratch(), { files: { 'tokenizer_config.json': null } });
    execFileSync('mkfifo', [join(folder, 'tokenizer_config.json')]);
    await expect(look(folder)).rejects.toThrow(/expected a regular file, got a FIFO/);
  });

  it('a socket is refused', async () => {
    const folder = await writeExport(await scratch(), {});
    const server = createServer().listen(join(folder, 's'));
    onTestFinished(() => new Promise<void>((done) => server.close(() => done())));
    await new Promise((done) => server.once('listening', done));
    await expect(look(folder)).rejects.toThrow(/a device or socket/);
  });

  it('a folder where a file should be is refused', async () => {
    const folder = await writeExport(await scratch(), { files: { 'config.json': null } });
    await mkdir(join(folder, 'config.json'));
    await expect(look(folder)).rejects.toMatchObject({ code: 'invalid_manifest' });
  });
});

describe('size', () => {
  it('of the folder is limited, holes included', async () => {
    const folder = await writeExport(await scratch(), {});
    await truncate(join(folder, 'onnx', 'model.onnx'), 2 ** 40);
    await expect(look(folder)).rejects.toThrow(/at most 8589934592 bytes/);
  });

  it('of JSON files is limited', async () => {
    const folder = await writeExport(await scratch(), {});
    await truncate(join(folder, 'config.json'), 5_000_000);
    await expect(look(folder)).rejects.toThrow(/config.json: expected at most 4194304 bytes/);
    const large = await writeExport(await scratch(), { files: { 'tokenizer.json': '{}' } });
    await truncate(join(large, 'tokenizer.json'), 200_000_000);
    await expect(look(large)).rejects.toThrow(/tokenizer.json: expected at most/);
  });

  it('in number of files and levels is limited', async () => {
    const limits = { ...DEFAULT_LIMITS, maxFiles: 3, maxDepth: 2 };
    await expect(look(await writeExport(await scratch(), {}), limits)).rejects.toThrow(/at most 3 files/);
    const deep = await writeExport(await scratch(), {});
    await mkdir(join(deep, 'a', 'b', 'c', 'd'), { recursive: true });
    await expect(look(deep, { ...limits, maxFiles: 100 })).rejects.toThrow(/at most 2 levels/);
  });
});

describe('JSON', () => {
  const files = ['config.json', 'tokenizer_config.json', 'model.json'];

  it.each(files.flatMap((file) => ['[]', '1', 'null', '"x"', '{', '', '\xff\xfe', '{}}'].map((text) => [file, text])))(
    '%s holding %j is refused',
    async (file, text) => {
      const folder = await writeExport(await scratch(), { files: { [file!]: Buffer.from(text!, 'latin1') } });
      await expect(look(folder)).rejects.toMatchObject({ code: 'invalid_manifest', params: { file } });
    },
  );

  it.each([...files, 'tokenizer.json', 'added_tokens.json'])('%s nested 100,000 deep is refused', async (file) => {
    const folder = await writeExport(await scratch(), { files: { [file]: `{"a":${'['.repeat(100_000)}` } });
    await expect(look(folder)).rejects.toThrow(/nested at most 64 deep/);
  });

  it('brackets inside strings do not count', async () => {
    const text = JSON.stringify({ model_type: 'bert', note: '[{"\\'.repeat(500) });
    expect(
      (await look(await writeExport(await scratch(), { files: { 'config.json': text } }))).version.config,
    ).toHaveProperty('note');
  });

  it('of any shape makes a manifest or a clear error', () => {
    const value = fc.object({ maxDepth: 3, withNullPrototype: true });
    const near = fc.record(
      {
        format: fc.oneof(fc.constant(1), fc.anything()),
        activation: fc.oneof(fc.constantFrom('sigmoid', 'none'), fc.anything()),
        maxLength: fc.oneof(fc.integer(), fc.anything()),
        reduction: fc.oneof(fc.constant({ kind: 'single' }), fc.anything()),
        selfTest: fc.anything(),
        training: value,
        files: fc.dictionary(fc.string(), fc.anything()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(value, near), (manifest) => {
        try {
          expect(parseManifest(manifest).format).toBe(1);
        } catch (error) {
          expect(error).toBeInstanceOf(WinnowError);
          expect(['invalid_manifest', 'unsafe_path']).toContain((error as WinnowError).code);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it.each(['../x', '/etc/passwd', 'a/../../b', 'x\0', 'a\\b'])('a manifest that lists %j is refused', (path) => {
    const files = { [path]: { sha256: '0'.repeat(64), bytes: 1 } };
    expect(() => parseManifest({ format: 1, files })).toThrow(/inside the model folder/);
  });
});

describe('a registry folder with all of it', () => {
  it('goes on serving the good model and names every fault', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    await dropVersion(folder, 'good', '1');
    await dropVersion(folder, 'zip', '1', { files: { 'onnx/model.onnx': 'PK\x03\x04 broken' } });
    await dropVersion(folder, 'deep', '1', { files: { 'config.json': '['.repeat(1_000_000) } });
    await dropVersion(folder, 'data', '1', {
      files: { 'onnx/model.onnx': graphWithData('../../../good/1/vocab.txt') },
    });
    await symlink('/etc', join(folder, 'etc'));
    await mkdir(join(folder, 'bad name'));
    await mkdir(join(folder, 'a..b'));
    await mkdir(join(folder, '.hidden'));
    await mkdir(join(folder, 'good', '.2'));
    await symlink('/etc', join(folder, 'good', '3'));
    await mkdir(join(folder, 'empty'));
    await writeFile(join(folder, 'README.md'), 'not a model');
    await writeFile(join(folder, 'zip', 'labels.json'), '{"../stable": "1"}');
    execFileSync('mkfifo', [join(folder, 'deep', 'labels.json')]);
    const registry = await createRegistry({ folder, pool: fakePool(), tokenizers, observer });
    for (const name of ['zip', 'deep', 'data'])
      await expect(registry.acquire(name)).rejects.toMatchObject({ code: 'model_refused' });
    expect(registry.list().map((s) => [s.name, s.version, s.state])).toEqual([
      ['data', '1', 'refused'],
      ['deep', '1', 'refused'],
      ['good', '1', 'available'],
      ['zip', '1', 'refused'],
    ]);
    expect((await registry.acquire('good')).version.key).toBe('good@1');
    const problems = seen.filter((s) => s.kind === 'onProblem').map((s) => (s.event as { where: string }).where);
    expect(problems.sort()).toEqual(['a..b', 'bad name', 'deep/labels.json', 'etc', 'good/3', 'zip/labels.json']);
    await expect(registry.acquire('empty')).rejects.toMatchObject({ code: 'model_not_ready' });
  });

  it('never opens what a request names', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'good', '1');
    const registry = await createRegistry({ folder, pool: fakePool(), tokenizers });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string(), fc.constantFrom('..', '../../etc', 'good@../..', 'good:..\0')),
        async (text) => {
          const outcome = await registry.acquire(text).catch((e: unknown) => e);
          expect(outcome).toBeInstanceOf(WinnowError);
          expect((outcome as WinnowError).status).toBe(404);
          expect((outcome as WinnowError).message.length).toBeLessThan(300);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('hard links are plain files', async () => {
    const folder = await writeExport(await scratch(), { files: { 'vocab.txt': null } });
    const other = await writeExport(await scratch(), {});
    await link(join(other, 'vocab.txt'), join(folder, 'vocab.txt'));
    expect((await look(folder)).version.maxLength).toBe(64);
    await rm(join(other, 'vocab.txt'));
  });
});
