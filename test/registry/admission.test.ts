import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostPool } from '../../src/inference/inference-types.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { describeExport } from '../../src/registry/import-version.ts';
import { type Manifest, writeManifest } from '../../src/registry/manifest.ts';
import { ownTargets } from '../../src/registry/processor.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { type AdmissionDeps, inspectVersion, loadAndTest } from '../../src/registry/version-admission.ts';
import { PROBE_PAIRS } from '../../src/registry/version-self-test.ts';
import {
  dropVersion,
  type FolderShape,
  fakePool,
  openRegistry,
  scratch,
  serving,
  tinyGraph,
  tokenizers,
  writeExport,
} from './support.ts';

let pool: HostPool;
beforeAll(async () => {
  pool = await createLocalPool({ threads: 1 });
});
afterAll(() => pool.close());

async function admit(folder: string, over: Partial<AdmissionDeps> = {}) {
  const deps = { pool, tokenizers, ...over };
  const inspected = await inspectVersion({ folder }, { ...deps, provider: deps.pool.provider });
  const admitted = await loadAndTest({ name: 'm', version: '1', key: 'm@1', folder }, inspected, deps);
  await deps.pool.unload('m@1');
  return admitted.served;
}

const admitExport = async (shape: FolderShape, over: Partial<AdmissionDeps> = {}) =>
  admit(await writeExport(await scratch(), shape), over);

/** An export with its manifest, as publishing writes it. */
async function published(manifest: Partial<Manifest> = {}, shape: FolderShape = {}): Promise<string> {
  const source = await writeExport(await scratch(), shape);
  return (await publish(source, await scratch(), 'm', { manifest })).folder;
}

describe('a plain Hugging Face export', () => {
  it('is adopted with what its files say', async () => {
    expect(await admitExport({ config: { sentence_transformers: { activation_fn: 'x.Identity' } } })).toMatchObject({
      key: 'm@1',
      maxLength: 64,
      activation: 'none',
      reduction: { kind: 'single' },
      variant: 'fp32',
      provider: 'cpu',
      objective: undefined,
    });
  });

  it('is tested on pairs that are cut as those of requests will be', async () => {
    const seen: unknown[] = [];
    const watched: AdmissionDeps['tokenizers'] = {
      async for(folder) {
        const tokenizer = await tokenizers.for(folder);
        return {
          padId: tokenizer.padId,
          close: () => tokenizer.close(),
          encodeTexts: (texts, options) => tokenizer.encodeTexts(texts, options),
          encode(query, passages, options) {
            seen.push([options.maxQueryTokens, options.truncation]);
            return tokenizer.encode(query, passages, options);
          },
        };
      },
    };
    const limits = { maxQueryTokens: 7, truncation: 'only_second' } as const;
    const folder = await published(limits);
    expect(await admit(folder, { tokenizers: watched })).toMatchObject(limits);
    expect((await admit(await published(), { tokenizers: watched })).maxQueryTokens).toBeUndefined();
    expect(new Set(seen.map((one) => JSON.stringify(one)))).toEqual(
      new Set(['[7,"only_second"]', '[null,"longest_first"]']),
    );
    await expect(published({ maxQueryTokens: 0 })).rejects.toThrow(/maxQueryTokens/);
  });

  it('is served from its top folder too', async () => {
    const served = await admitExport({ file: 'model.onnx' });
    expect(served.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('with position ids is fed them as its family counts, up to the last position', async () => {
    const { warnings, maxLength } = await admitExport({ positions: true });
    expect([warnings, maxLength]).toEqual([[], 64]);
    // Two positions less: row 62 of 64 is the last.
    const family = { model_type: 'roberta', pad_token_id: 1 };
    expect((await admitExport({ positions: true, config: family })).maxLength).toBe(62);
    const beyond = await published({ maxLength: 64 }, { positions: true, config: family });
    await expect(admit(beyond)).rejects.toMatchObject({ code: 'inference_failed' });
  });

  it('with two classes is reduced to the second', async () => {
    expect((await admitExport({ width: 2 })).reduction).toEqual({ kind: 'class', index: 1 });
  });

  it.each<[string, FolderShape, RegExp]>([
    ['without its head', { output: 'last_hidden_state', width: 4 }, /classification head/],
    ['with scores that never differ', { constant: true }, /different scores for different passages/],
    ['with NaN', { bias: Number.NaN }, /NaN/],
    ['with infinite scores', { bias: Number.POSITIVE_INFINITY }, /NaN/],
    ['with an unknown input', { input: 'pixel_values' }, /inputs input_ids/],
    ['with five classes without names', { width: 5 }, /reduction/],
    ['without config.json', { files: { 'config.json': null } }, /Hugging Face export/],
    ['without a tokenizer', { files: { 'vocab.txt': null } }, /tokenizer/],
    ['without ONNX', { files: { 'onnx/model.onnx': null } }, /ONNX file/],
    ['with an empty vocabulary', { files: { 'vocab.txt': '' } }, /vocab/],
  ])('%s is refused with the reason', async (_, shape, reason) => {
    const outcome = await admitExport(shape).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(outcome).toMatch(reason);
  });

  it('whose vocabulary is larger than its embeddings is refused before it serves', async () => {
    const folder = await writeExport(await scratch(), {});
    const vocab = await readFile(join(folder, 'vocab.txt'), 'utf8');
    await writeFile(
      join(folder, 'vocab.txt'),
      `${vocab}\n${'how to boil an egg when does the ferry leave'.split(' ').join('\n')}`,
    );
    await expect(admit(folder)).rejects.toMatchObject({ code: 'inference_failed' });
  });

  it('leaves nothing loaded when it is refused', async () => {
    const fake = fakePool();
    const folder = await writeExport(await scratch(), {});
    fake.run = async (_, rows) => ({ scores: new Float32Array(rows.length), inferMs: 0, host: 0 });
    await expect(admit(folder, { pool: fake })).rejects.toMatchObject({ code: 'invalid_graph' });
    expect(fake.log).toEqual(['load m@1', 'unload m@1']);
  });
});

describe('variants', () => {
  const both = { 'onnx/model_int8.onnx': tinyGraph({ bias: 1 }) };

  it('int8 is served on a CPU, the one asked for where asked', async () => {
    expect((await admitExport({ files: both })).variant).toBe('int8');
    expect((await admitExport({ files: both }, { variant: 'fp32' })).variant).toBe('fp32');
    await expect(admitExport({ files: both }, { variant: 'fp16' })).rejects.toThrow(/variant fp16.*got fp32, int8/);
  });

  it('made for another processor yield to fp32, and are a warning where they are served', async () => {
    const foreign = ownTargets().includes('arm64') ? 'model_quint8_avx2' : 'model_qint8_arm64';
    const files = { [`onnx/${foreign}.onnx`]: tinyGraph({}) };
    expect((await admitExport({ files })).variant).toBe('fp32');
    const { variant, warnings } = await admitExport({ files: { ...files, 'onnx/model.onnx': null } });
    expect([variant, warnings]).toEqual(['int8', [expect.stringMatching(`${foreign}.onnx is made for `)]]);
  });

  it('of 4 bits are a warning next to another, and refused by name alone', async () => {
    const files = { 'onnx/model_q4.onnx': tinyGraph({}) };
    expect((await admitExport({ files })).warnings).toEqual([
      expect.stringMatching(/^onnx\/model_q4\.onnx: not served/),
    ]);
    await expect(admitExport({ files: { ...files, 'onnx/model.onnx': null } })).rejects.toThrow(
      /8 bits.*model_q4\.onnx/,
    );
  });

  it('int8 whose scales depend on the batch yields to fp32, unless it is asked for or alone', async () => {
    const dynamic = { 'onnx/model_quantized.onnx': tinyGraph({ extraOp: 'DynamicQuantizeLinear' }) };
    expect((await admitExport({ files: dynamic })).variant).toBe('fp32');
    expect((await admitExport({ files: dynamic }, { variant: 'int8' })).variant).toBe('int8');
    expect((await admitExport({ files: { ...dynamic, 'onnx/model.onnx': null } })).variant).toBe('int8');
  });
});

describe('scores that depend on the batch', () => {
  const warningsOf = async (shape: FolderShape, over?: Partial<AdmissionDeps>) =>
    (await admitExport(shape, over)).warnings;

  it('are a warning that names the operator and the file', async () => {
    expect(
      await warningsOf({ dynamic: true, file: 'onnx/model_int8.onnx', files: { 'onnx/model.onnx': null } }),
    ).toEqual([
      expect.stringMatching(/^onnx\/model_int8\.onnx: DynamicQuantizeLinear .*self-test pair differed by 0\.0*[1-9]/),
    ]);
  });

  it('are a warning where padding counts', async () => {
    expect(await warningsOf({ unmasked: true })).toEqual([expect.stringMatching(/no input attention_mask/)]);
  });

  it('are none where a score depends on its pair alone', async () => {
    expect(await warningsOf({})).toEqual([]);
    const told = await admit(await published({ instruction: 'Find code.' }));
    expect(told.warnings).toEqual([expect.stringMatching(/`instruction` of model\.json has no effect/)]);
    expect(await warningsOf({ width: 2 })).toEqual([]);
  });

  it('are shown by the status of the version', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1', { dynamic: true });
    const registry = await openRegistry(folder, { pool });
    await serving(registry);
    expect(registry.list()[0]).toMatchObject({
      activation: 'sigmoid',
      warnings: [expect.stringMatching(/DynamicQuantizeLinear/)],
    });
  });

  it('are returned by import for every variant', async () => {
    const source = await writeExport(await scratch(), {
      files: { 'onnx/model_quantized.onnx': tinyGraph({ dynamic: true }) },
    });
    const { warnings } = await describeExport(source, { pool, tokenizers });
    expect(warnings).toEqual([expect.stringMatching(/model_quantized\.onnx: DynamicQuantizeLinear/)]);
  });
});

describe('a version with a manifest', () => {
  it('is served as the manifest says', async () => {
    const folder = await published(
      {
        activation: 'none',
        maxLength: 32,
        truncation: 'only_second',
        objective: 'InfoNCE',
        reduction: { kind: 'class', index: 0 },
      },
      { width: 2 },
    );
    expect(await admit(folder)).toMatchObject({
      activation: 'none',
      maxLength: 32,
      truncation: 'only_second',
      objective: 'InfoNCE',
      reduction: { kind: 'class', index: 0 },
    });
  });

  it.each(['config.json', 'vocab.txt', 'onnx/model.onnx'])('is refused when %s changed', async (file) => {
    const folder = await published();
    const bytes = await readFile(join(folder, file));
    // A byte of a word in JSON and text, of the last weight in the graph.
    bytes[file === 'config.json' ? bytes.indexOf('bert') : bytes.length - 1]! ^= 1;
    await writeFile(join(folder, file), bytes);
    await expect(admit(folder)).rejects.toMatchObject({ code: 'hash_mismatch', params: { file } });
  });

  it('is refused when a file is cut, gone or added', async () => {
    const cut = await published();
    await truncate(join(cut, 'vocab.txt'), 10);
    await expect(admit(cut)).rejects.toThrow(/vocab.txt: expected \d+ bytes as the manifest says, got 10/);
    const added = await published();
    await writeFile(join(added, 'special_tokens_map.json'), '{}');
    await expect(admit(added)).rejects.toThrow(/special_tokens_map.json: expected only files the manifest lists/);
    const readme = await published();
    await writeFile(join(readme, 'README.md'), 'for people');
    expect((await admit(readme)).version).toBe('1');
  });

  it('keeps to its self-test within the tolerance', async () => {
    const source = await writeExport(await scratch(), {});
    const { selfTest } = (await describeExport(source, { pool, tokenizers })).manifest;
    expect(selfTest?.pairs.map(({ query, passage }) => ({ query, passage }))).toEqual(PROBE_PAIRS);
    const shifted = (by: number) => ({
      tolerance: 1e-3,
      pairs: selfTest!.pairs.map((p) => ({ ...p, scores: { fp32: p.scores.fp32! + by } })),
    });
    expect((await admit(await published({ selfTest: shifted(5e-4) }))).variant).toBe('fp32');
    await expect(admit(await published({ selfTest: shifted(5e-3) }))).rejects.toThrow(/self-test pair 1 .*± 0.001/);
    // A variant without recorded scores is not compared.
    const other = { ...shifted(5), pairs: shifted(5).pairs.map((p) => ({ ...p, scores: { int8: 1 } })) };
    expect((await admit(await published({ selfTest: other }))).variant).toBe('fp32');
  });

  it('whose reduction does not fit the graph is refused', async () => {
    const folder = await published();
    const { files } = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as Manifest;
    await writeManifest(folder, { format: 1, files, reduction: { kind: 'class', index: 3 } });
    await expect(admit(folder)).rejects.toThrow(/above class 3, got \[N, 1\]/);
  });
});
