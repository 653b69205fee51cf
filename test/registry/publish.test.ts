import { readdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { writeGraph } from '../../src/main/write-graph.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';
import { createRegistry } from '../../src/registry/folder-registry.ts';
import { importFolder, verifyFolder } from '../../src/registry/import-version.ts';
import { type Manifest, parseManifest, readManifest, writeManifest } from '../../src/registry/manifest.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { surveyRegistry } from '../../src/registry/survey.ts';
import { sha256File } from '../../src/util/files.ts';
import { MODERNBERT, modernbertWeights, writeCheckpoint } from '../support/tiny-checkpoint.ts';
import { fakePool, scratch, tinyGraph, tokenizers, VOCABULARY, writeExport } from './support.ts';

const training = { steps: 10, loss: [0.5, 0.25], best: { measure: 'nDCG@10', value: 0.7 }, resumed: false, note: null };

describe('the manifest', () => {
  it('is read back as it was written', async () => {
    const folder = await scratch();
    const manifest: Manifest = {
      format: 1,
      activation: 'sigmoid',
      maxLength: 128,
      reduction: { kind: 'class', index: 2 },
      training,
      selfTest: {
        tolerance: 0.1,
        pairs: [
          { query: 'q', passage: 'p', scores: { fp32: 1.5 } },
          { query: 'q', passage: 'r', scores: {} },
        ],
      },
      files: { 'onnx/model.onnx': { sha256: 'a'.repeat(64), bytes: 3 } },
    };
    await writeManifest(folder, manifest);
    expect(await readManifest(folder)).toEqual(manifest);
  });

  it.each([
    [{}, 'format'],
    [{ format: 2 }, 'format'],
    [{ format: 1, activation: 'tanh' }, 'activation'],
    [{ format: 1, maxLength: '512' }, 'maxLength'],
    [{ format: 1, maxLenght: 512 }, 'maxLenght'],
    [{ format: 1, reduction: { kind: 'class', index: -1 } }, 'reduction.index'],
    [{ format: 1, files: { 'a.json': { sha256: 'x', bytes: 1 } } }, 'files.a.json.sha256'],
    [{ format: 1, selfTest: { tolerance: 1, pairs: [] } }, 'selfTest.pairs'],
  ])('%j is refused by naming %s', (value, field) => {
    expect(() => parseManifest(value)).toThrow(
      expect.objectContaining({ code: 'invalid_manifest', params: expect.objectContaining({ field }) }),
    );
  });
});

describe('publishing', () => {
  it('writes the next version whole, with hashes, facts and label, and leaves nothing else', async () => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), { files: { 'README.md': 'card', '.git': 'not ours' } });
    const options = { label: 'stable', manifest: { objective: 'InfoNCE', training }, now: () => 0 };
    const first = await publish(source, registry, 'm', options);
    const second = await publish(source, registry, 'm', { label: 'canary' });
    expect([first.version, second.version]).toEqual(['1', '2']);
    expect((await readdir(join(registry, 'm'))).sort()).toEqual(['1', '2', 'labels.json']);
    expect((await readdir(first.folder)).sort()).toEqual(
      ['README.md', 'config.json', 'model.json', 'onnx', 'tokenizer_config.json', 'vocab.txt'].sort(),
    );
    const manifest = await readManifest(first.folder);
    expect(manifest).toMatchObject({ format: 1, objective: 'InfoNCE', training, created: '1970-01-01T00:00:00.000Z' });
    expect(Object.keys(manifest.files!).sort()).toEqual([
      'config.json',
      'onnx/model.onnx',
      'tokenizer_config.json',
      'vocab.txt',
    ]);
    expect(manifest.files!['vocab.txt']?.sha256).toBe(await sha256File(join(source, 'vocab.txt')));
    expect(JSON.parse(await readFile(join(registry, 'm', 'labels.json'), 'utf8'))).toEqual({
      stable: '1',
      canary: '2',
    });
  });

  it('takes a manifest of the source over', async () => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), {});
    await writeManifest(source, { format: 1, maxLength: 16, backbone: 'tiny' });
    const { folder } = await publish(source, registry, 'm', { manifest: { maxLength: 32 } });
    expect(await readManifest(folder)).toMatchObject({ maxLength: 32, backbone: 'tiny' });
    // A published folder can be published again: its hashes are held to and written anew.
    const again = await publish(folder, registry, 'n');
    expect((await readManifest(again.folder)).files).toEqual((await readManifest(folder)).files);
  });

  it('many at once get numbers of their own', async () => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), {});
    const all = await Promise.all(Array.from({ length: 8 }, () => publish(source, registry, 'm')));
    expect(all.map((p) => Number(p.version)).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect((await surveyRegistry(registry)).rows.every((row) => row.hashed)).toBe(true);
  });

  it('leaves weights of other formats behind, but not those a graph points to', async () => {
    const model = decodeModel(tinyGraph());
    const table = Buffer.from(model.graph.initializers.get('table')!.bytes);
    const place = (name: string) =>
      name === 'table' ? { location: 'weights.bin', offset: 0, length: table.length } : undefined;
    const files = {
      'onnx/model.onnx': encodeModel(model, place),
      'onnx/weights.bin': table,
      'pytorch_model.bin': 'large',
      'model.safetensors': 'large',
    };
    const { folder } = await publish(await writeExport(await scratch(), { files }), await scratch(), 'm');
    const { files: listed } = await readManifest(folder);
    expect(Object.keys(listed!).filter((path) => /weights|model/.test(path))).toEqual([
      'onnx/model.onnx',
      'onnx/weights.bin',
    ]);
  });

  it('counts on from the highest number, whatever else is there', async () => {
    const registry = await scratch();
    await writeExport(join(registry, 'm', '41'));
    await writeExport(join(registry, 'm', 'draft'));
    const source = await writeExport(await scratch(), {});
    expect((await publish(source, registry, 'm')).version).toBe('42');
  });

  it.each([
    ['../m', undefined],
    ['.m', undefined],
    ['m', '../stable'],
  ])('refuses the name %j with label %j', async (name, label) => {
    const source = await writeExport(await scratch(), {});
    await expect(publish(source, await scratch(), name, { label })).rejects.toMatchObject({ code: 'invalid_field' });
  });

  it('refuses what could not be served, and leaves nothing', async () => {
    const registry = await scratch();
    const headless = await writeExport(await scratch(), { output: 'last_hidden_state', width: 4 });
    await expect(publish(headless, registry, 'm')).rejects.toThrow(/classification head/);
    const secondBad = await writeExport(await scratch(), { files: { 'onnx/model_int8.onnx': 'broken' } });
    await expect(publish(secondBad, registry, 'm')).rejects.toThrow(/model_int8.onnx/);
    const linked = await writeExport(await scratch(), {});
    await symlink('/etc/passwd', join(linked, 'LICENSE'));
    await expect(publish(linked, registry, 'm')).rejects.toMatchObject({ code: 'unsafe_path' });
    expect(await readdir(registry)).toEqual([]);
  });

  it('is seen by a registry that watches', async () => {
    const registryFolder = await scratch();
    const source = await writeExport(await scratch(), {});
    await publish(source, registryFolder, 'm');
    const registry = await createRegistry({ folder: registryFolder, pool: fakePool(), tokenizers });
    onTestFinished(() => registry.close());
    await publish(source, registryFolder, 'm', { label: 'stable' });
    await registry.rescan();
    expect((await registry.acquire('m')).version.key).toBe('m@2');
  });
});

describe('importing', () => {
  const deps = async () => {
    const pool = await createLocalPool({ threads: 1 });
    onTestFinished(() => pool.close());
    return { pool, tokenizers };
  };

  it('writes down what the export says and scores, variant by variant', async () => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), { files: { 'onnx/model_int8.onnx': tinyGraph({ bias: 0.01 }) } });
    const { folder } = await importFolder(source, registry, 'm', await deps(), { label: 'stable' });
    const manifest = await readManifest(folder);
    expect(manifest).toMatchObject({
      activation: 'sigmoid',
      maxLength: 64,
      reduction: { kind: 'single' },
      selfTest: { tolerance: 0.1 },
    });
    for (const { scores } of manifest.selfTest!.pairs) expect(scores.int8! - scores.fp32!).toBeCloseTo(0.01, 5);
    const { results } = await verifyFolder(folder, await deps());
    expect(results.map((r) => r.variant)).toEqual(['fp32', 'int8']);
    expect([...results[0]!.scores]).toEqual(manifest.selfTest!.pairs.map((p) => p.scores.fp32));
  });

  it('writes the graph of a folder that has weights only, and leaves the weights behind', async () => {
    const registry = await scratch();
    const config = { ...MODERNBERT, vocab_size: VOCABULARY.length };
    const source = await writeExport(await scratch(), { config, files: { 'onnx/model.onnx': null } });
    const weights = modernbertWeights('float16', VOCABULARY.length);
    weights.set('decoder.bias', tensor('float16', [2], [0, 0]));
    await writeCheckpoint(source, config, weights, 2);
    const engine = { ...(await deps()), writeGraph };
    const { folder, warnings } = await importFolder(source, registry, 'm', engine, { label: 'stable' });
    expect(warnings).toEqual(['tensors that the scores do not need, left out: 1 (decoder.bias)']);
    expect((await readdir(folder, { recursive: true })).toSorted()).toEqual(
      ['config.json', 'model.json', 'onnx', 'onnx/model.onnx', 'tokenizer_config.json', 'vocab.txt'].toSorted(),
    );
    const again = await importFolder(folder, registry, 'm', engine);
    expect(again.version).toBe('2');
    expect((await readdir(registry)).toSorted()).toEqual(['m']);
  });

  it('writes a float16 file too for a GPU where the weights are in half precision, unless scores change', async () => {
    const write = async (weights: ReturnType<typeof modernbertWeights>) => {
      const config = { ...MODERNBERT, vocab_size: 80 };
      const source = await writeExport(await scratch(), { config, files: { 'onnx/model.onnx': null } });
      await writeCheckpoint(source, config, weights);
      const target = await scratch();
      const warnings = await writeGraph(source, join(target, 'model.onnx'), [], undefined, true);
      return { warnings, files: (await readdir(target)).toSorted(), target };
    };
    const half = await write(modernbertWeights('bfloat16', 80));
    expect([half.warnings, half.files]).toEqual([[], ['model.onnx', 'model_fp16.onnx']]);
    const { graph } = await readModel(join(half.target, 'model_fp16.onnx'));
    expect(graph.initializers.get('model.layers.1.mlp.Wo.weight')!.dtype).toBe('float16');
    expect((await write(modernbertWeights('float32', 80))).files).toEqual(['model.onnx']);
    const wide = modernbertWeights('bfloat16', 80);
    const dense = wide.get('head.dense.weight')!;
    const far = numbers(dense).map((x) => 1e6 * x);
    wide.set('head.dense.weight', tensor('bfloat16', dense.dims, far));
    const refused = await write(wide);
    expect(refused.files).toEqual(['model.onnx']);
    expect(refused.warnings).toEqual([expect.stringMatching(/float16 changes scores .* GPUs serve the float32 file/)]);
  });

  it('names the setting where the tokenizer has more tokens than the vocabulary', async () => {
    const config = { ...MODERNBERT, vocab_size: 9 };
    const source = await writeExport(await scratch(), { config, files: { 'onnx/model.onnx': null } });
    await writeCheckpoint(source, config, modernbertWeights('float32', 9));
    const importing = importFolder(source, await scratch(), 'm', { ...(await deps()), writeGraph });
    await expect(importing).rejects.toThrow(
      /config\.json: vocab_size: expected tokens below 9, got \d+ of the tokenizer/,
    );
  });

  it.each<[string, string, RegExp]>([
    ['weights that are torn', 'model.safetensors', /model\.safetensors: expected 8 bytes/],
    ['a pickle that is torn', 'pytorch_model.bin', /pytorch_model\.bin: expected a zip archive/],
    ['an index that is no JSON', 'model.safetensors.index.json', /model\.safetensors\.index\.json/],
    [
      'weights of another format',
      'tf_model.h5',
      /expected an ONNX file or one of model\.safetensors, .*pytorch_model\.bin\.index\.json, got tf_model\.h5/,
    ],
  ])('refuses a folder with %s, and leaves nothing', async (_, file, message) => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), {
      config: MODERNBERT,
      files: { 'onnx/model.onnx': null, [file]: '{' },
    });
    await expect(importFolder(source, registry, 'm', { ...(await deps()), writeGraph })).rejects.toThrow(message);
    expect(await readdir(registry)).toEqual([]);
  });

  it('holds a published folder to its self-test and keeps it', async () => {
    const [registry, engine] = [await scratch(), await deps()];
    const source = await writeExport(await scratch(), {});
    const first = await importFolder(source, registry, 'm', engine);
    const second = await importFolder(first.folder, registry, 'm', engine);
    expect((await readManifest(second.folder)).selfTest).toEqual((await readManifest(first.folder)).selfTest);
    await truncate(join(first.folder, 'vocab.txt'), 20);
    await expect(importFolder(first.folder, registry, 'm', engine)).rejects.toThrow(/vocab.txt/);
    expect(await readdir(join(registry, 'm'))).toEqual(['1', '2']);
  });

  it('refuses an export without a trained head, and leaves neither folder nor model', async () => {
    const [registry, engine] = [await scratch(), fakePool()];
    engine.run = async (_, rows) => ({ scores: new Float32Array(rows.length), inferMs: 0, host: 0 });
    const source = await writeExport(await scratch(), {});
    await expect(importFolder(source, registry, 'm', { pool: engine, tokenizers })).rejects.toThrow(/different scores/);
    expect(engine.loaded.size).toBe(0);
    expect(await readdir(registry)).toEqual([]);
  });
});

describe('the survey', () => {
  it('lists every version and its fault', async () => {
    const registry = await scratch();
    const source = await writeExport(await scratch(), {});
    await publish(source, registry, 'm', { label: 'stable' });
    await writeExport(join(registry, 'm', '2'));
    await writeFile(join(registry, 'm', '2', 'config.json'), '[]');
    expect((await surveyRegistry(registry)).rows).toEqual([
      expect.objectContaining({ name: 'm', version: '2', labels: [], fault: expect.stringContaining('config.json') }),
      expect.objectContaining({
        name: 'm',
        version: '1',
        labels: ['stable'],
        variants: ['fp32'],
        maxLength: 64,
        hashed: true,
      }),
    ]);
  });
});
