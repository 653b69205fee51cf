import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createHostPool, type SupervisedPool } from '../../src/inference/host-pool.ts';
import { createRegistry } from '../../src/registry/folder-registry.ts';
import { verifyFolder } from '../../src/registry/import-version.ts';
import { readManifest } from '../../src/registry/manifest.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { PairTokenizer } from '../../src/tokenization/tokenization-types.ts';
import { dot } from '../../src/util/vectors.ts';
import {
  hasReference,
  MODELS,
  REFERENCE_NEEDS,
  REFERENCE_SCORES,
  referenceRegistry,
  SHIPPED,
  SHIPPED_ENCODERS,
  SHIPPED_NAME,
  SHIPPED_NAMES,
  shippedFolder,
} from '../support/shipped.ts';
import { dropVersion, recorder, scratch, tinyGraph, tokenizers, writeExport } from './support.ts';

let pool: SupervisedPool;
beforeAll(async () => {
  pool = await createHostPool({ provider: 'cpu', hosts: 1, threads: 1 });
});
afterAll(() => pool.close());

async function open(folder: string, observer = recorder().observer) {
  const registry = await createRegistry({ folder, pool, tokenizers, observer });
  onTestFinished(async () => {
    for (const { name } of registry.list()) await registry.unload(name);
    await registry.close();
  });
  return registry;
}

const options = {
  maxQueryTokens: 192,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 0,
} as const;

const opened = new Map<string, Promise<PairTokenizer>>();

/** One tokenizer a folder for the whole file. */
function tokenizerOf(folder: string): Promise<PairTokenizer> {
  const tokenizer = opened.get(folder) ?? createLocalTokenizer(folder);
  opened.set(folder, tokenizer);
  return tokenizer;
}

async function score(key: string, folder: string, maxLength: number, query: string, passages: readonly string[]) {
  const { rows } = await (await tokenizerOf(folder)).encode(query, passages, { ...options, maxLength });
  return [...(await pool.run(key, rows)).scores];
}

describe.each(SHIPPED_NAMES)('the shipped model %s', (name) => {
  it('is admitted by a real host, every hash and the self-test included', async () => {
    const { inspected, results } = await verifyFolder(shippedFolder(name), { pool, tokenizers });
    const { selfTest, files } = inspected.version.manifest!;
    expect(Object.keys(files!)).toContain('onnx/model_int8.onnx');
    expect(results.map((r) => r.variant)).toEqual(['int8']);
    selfTest!.pairs.forEach(({ scores }, i) => {
      expect(Math.abs(results[0]!.scores[i]! - scores.int8!)).toBeLessThanOrEqual(selfTest!.tolerance);
    });
  });

  it('tells what answers a question from what does not', async () => {
    const registry = await open(MODELS);
    const { version, release } = await registry.acquire(name);
    expect(version).toMatchObject({ version: '1', maxLength: 192, activation: 'sigmoid', variant: 'int8' });
    const [good, bad] = await score(version.key, version.folder, version.maxLength, 'what do bees make', [
      'Bees make honey from the nectar of flowers.',
      'The train to the coast was late again.',
    ]);
    expect(good).toBeGreaterThan(bad! + 1);
    release();
  });

  it('gives a pair the same score alone, twice, and next to longer and shorter ones, but for rounding of float32', async () => {
    const registry = await open(MODELS);
    const { version, release } = await registry.acquire(name);
    const of = (passages: readonly string[]) =>
      score(version.key, version.folder, version.maxLength, 'what do bees make', passages);
    const passages = [1, 2, 5, 9, 17, 33].map((n) => 'Bees make honey from the nectar of flowers. '.repeat(n));
    const together = await of(passages);
    for (const [i, passage] of passages.entries()) {
      const [alone] = await of([passage]);
      expect(Math.abs(alone! - together[i]!)).toBeLessThan(2e-6);
      for (const other of await of([passage, passage, passage])) expect(Math.abs(alone! - other)).toBeLessThan(2e-6);
    }
    release();
  });

  it('has no texts of its training data in its self-test', async () => {
    const { selfTest } = await readManifest(shippedFolder(name));
    expect(selfTest!.pairs.every((p) => p.passage.length < 200)).toBe(true);
  });
});

describe.each(SHIPPED_ENCODERS)('the shipped bi-encoder %s', (name) => {
  it('is admitted by a real host, every hash and the self-test included', async () => {
    const { inspected, results } = await verifyFolder(shippedFolder(name), { pool, tokenizers });
    const { selfTest, files, license } = inspected.version.manifest!;
    expect(inspected.version.encoder?.passagePrefix).toBeDefined();
    expect(Object.keys(files!)).toContain('onnx/model_int8.onnx');
    expect(license).toMatch(/^MIT/);
    expect(results.map((r) => r.variant)).toEqual(['int8']);
    selfTest!.pairs.forEach(({ scores }, i) => {
      expect(Math.abs(results[0]!.scores[i]! - scores.int8!)).toBeLessThanOrEqual(selfTest!.tolerance);
    });
  });

  it('makes the same vector of a text alone and next to longer ones, bit for bit, and tells what answers a question', async () => {
    const registry = await open(MODELS);
    const { version, release } = await registry.acquire(name);
    const { queryPrefix, passagePrefix } = version.encoder!;
    const tokenizer = await tokenizerOf(version.folder);
    const encode = async (prefix: string, texts: readonly string[]) => {
      const { rows } = await tokenizer.encodeTexts(texts, { ...options, prefix, maxLength: version.maxLength });
      const { scores } = await pool.run(version.key, rows);
      const width = scores.length / rows.length;
      return rows.map((_, i) => scores.slice(i * width, (i + 1) * width));
    };
    const texts = [1, 2, 5, 17].map((n) => 'Bees make honey from the nectar of flowers. '.repeat(n));
    const together = await encode(passagePrefix, [...texts, 'The train to the coast was late again.']);
    for (const [i, text] of texts.entries()) expect((await encode(passagePrefix, [text]))[0]).toEqual(together[i]);
    const [query] = await encode(queryPrefix, ['what do bees make']);
    const [good, bad] = [together[0]!, together.at(-1)!].map((vector) => dot(query!, vector));
    expect(good!).toBeGreaterThan(bad! + 0.05);
    release();
  });
});

describe('the default among the shipped models', () => {
  it('is what a registry over models/ serves to requests without a model', async () => {
    const registry = await open(MODELS);
    expect(registry.defaultModel).toBe(SHIPPED_NAME);
    const { version, release } = await registry.acquire();
    expect(version).toMatchObject({ version: '1', maxLength: 192, activation: 'sigmoid', variant: 'int8' });
    expect(registry.list().find(({ name }) => name === SHIPPED_NAME)).toMatchObject({
      state: 'ready',
      labels: ['stable'],
    });
    release();
  });

  it.skipIf(!hasReference)(`repeats the reference scores of another one ${REFERENCE_NEEDS}`, async () => {
    const { pairs } = JSON.parse(await readFile(REFERENCE_SCORES, 'utf8')) as {
      pairs: { query: string; passage: string; onnx_int8: number }[];
    };
    const folder = referenceRegistry();
    onTestFinished(() => rm(folder, { recursive: true }));
    const registry = await open(folder);
    const { version, release } = await registry.acquire();
    expect(pairs.length).toBe(30);
    for (const { query, passage, onnx_int8 } of pairs) {
      const [got] = await score(version.key, version.folder, version.maxLength, query, [passage]);
      expect(Math.abs(got! - onnx_int8)).toBeLessThan(1e-4);
    }
    release();
  });

  it('with one bit of its weights turned is refused', async () => {
    const folder = join(await scratch(), 'copy');
    await cp(SHIPPED, folder, { recursive: true });
    const path = join(folder, 'onnx', 'model_int8.onnx');
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
    await expect(verifyFolder(folder, { pool, tokenizers })).rejects.toMatchObject({ code: 'hash_mismatch' });
    await rm(folder, { recursive: true });
  });

  it('with another vocabulary is caught by its self-test, hashes or none', async () => {
    const folder = join(await scratch(), 'copy');
    await cp(SHIPPED, folder, { recursive: true });
    const { files: _, ...manifest } = await readManifest(folder);
    await writeFile(join(folder, 'model.json'), JSON.stringify(manifest));
    const tokenizer = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) as {
      model: { vocab: Record<string, number> };
    };
    const { vocab } = tokenizer.model;
    [vocab.knife, vocab.ferry] = [vocab.ferry!, vocab.knife!];
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
    await expect(verifyFolder(folder, { pool, tokenizers })).rejects.toThrow(/self-test pair 1/);
  });
});

describe('a version that breaks in the engine', () => {
  it('is refused by its host; the old one scores on, before and after', async () => {
    const folder = await scratch();
    const { observer, seen } = recorder();
    await publish(await writeExport(await scratch(), {}), folder, 'm', { label: 'stable' });
    const registry = await open(folder, observer);
    const first = await registry.acquire('m');
    const before = await score(first.version.key, first.version.folder, 64, 'abc', ['def', 'xyz']);
    let running = true;
    let answers = 0;
    const client = (async () => {
      while (running) {
        const { version, release } = await registry.acquire('m');
        expect(await score(version.key, version.folder, 64, 'abc', ['def', 'xyz'])).toEqual(before);
        release();
        answers++;
      }
    })();
    // Whole protobuf, right inputs and output, and an operator that no engine knows.
    await dropVersion(folder, 'm', '2', { files: { 'onnx/model.onnx': tinyGraph({ extraOp: 'NoSuchOperator' }) } });
    await expect(registry.setLabel('m', 'stable', '2')).rejects.toThrow(/unknown_version|expected a version/);
    await registry.rescan();
    await expect(registry.setLabel('m', 'stable', '2')).rejects.toMatchObject({ code: 'model_refused' });
    expect(registry.list().find((s) => s.version === '2')).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/NoSuchOperator/),
    });
    expect(seen.filter((s) => s.kind === 'onRefused')).toHaveLength(1);
    running = false;
    await client;
    expect(answers).toBeGreaterThan(0);
    first.release();
  });
});

it.each([...SHIPPED_NAMES, ...SHIPPED_ENCODERS])('%s is calibrated for the file it serves', async (name) => {
  const folder = shippedFolder(name);
  const { calibration, files } = await readManifest(folder);
  const served = Object.entries(files ?? {}).find(([file]) => /int8.*\.onnx$/.test(file));
  expect(calibration).toMatchObject({ sha256: served?.[1].sha256, lists: 14, pairs: 1400 });
  expect(calibration!.logLoss.after).toBeLessThan(calibration!.logLoss.before);
  expect(await readFile(join(folder, 'README.md'), 'utf8')).toContain('README-calibration.svg');
});
