import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { writeGraph } from '../../src/main/write-graph.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { readManifest } from '../../src/registry/manifest.ts';
import { type PullOptions, pull } from '../../src/registry/pull.ts';
import { variantsOf } from '../../src/registry/version-variants.ts';
import { tinyStates } from '../support/tiny-bi-encoder.ts';
import { writeTinyModel } from '../support/tiny-model.ts';
import { scratch, tinyGraph, tokenizers, VOCABULARY } from './support.ts';

type Files = Record<string, string | Uint8Array>;

interface Hub {
  readonly url: string;
  readonly files: Files;
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers'] }[];
  /** Says what to answer instead; undefined answers as usual. */
  intercept: (path: string, request: IncomingMessage) => number | 'drop' | undefined;
  commit: string;
}

function answer(hub: Hub, request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent(new URL(request.url ?? '/', hub.url).pathname);
  hub.requests.push({ path, headers: request.headers });
  const instead = hub.intercept(path, request);
  const content = hub.files[/^\/acme\/ranker\/resolve\/main\/(.*)$/.exec(path)?.[1] ?? ''];
  if (typeof instead === 'number' || content === undefined) {
    response.writeHead(typeof instead === 'number' ? instead : 404).end();
    return;
  }
  const bytes = Buffer.from(content);
  const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`;
  const start = /^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
  const isPart = start !== undefined && (request.headers['if-range'] ?? etag) === etag;
  const from = isPart ? Number(start) : 0;
  const end = request.headers.range === 'bytes=0-0' ? 1 : bytes.length;
  response.writeHead(isPart ? 206 : 200, {
    etag,
    'x-repo-commit': hub.commit,
    'content-length': end - from,
    ...(isPart ? { 'content-range': `bytes ${from}-${end - 1}/${bytes.length}` } : {}),
  });
  if (instead === 'drop')
    response.write(bytes.subarray(from, from + Math.ceil((end - from) / 2)), () => response.destroy());
  else response.end(bytes.subarray(from, end));
}

/** A server laid out like the hub: `/{organization}/{model}/resolve/{revision}/{file}`, with ranges and entity tags. */
async function openHub(files: Files = {}): Promise<Hub> {
  const requests: Hub['requests'] = [];
  const exported: Files = {
    'config.json': JSON.stringify({
      model_type: 'bert',
      max_position_embeddings: 64,
      architectures: ['BertForSequenceClassification'],
    }),
    'tokenizer_config.json': JSON.stringify({ tokenizer_class: 'BertTokenizer', do_lower_case: true }),
    'vocab.txt': VOCABULARY.join('\n'),
    'README.md': 'card',
    'onnx/model.onnx': tinyGraph(),
    ...files,
  };
  const server = createServer((request, response) => answer(hub, request, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(
    () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  );
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hub: Hub = { url, files: exported, requests, intercept: () => undefined, commit: 'c0ffee' };
  return hub;
}

/** Large enough that most of it is with the client when a connection breaks. */
const LONG = 'A card that goes on. '.repeat(150_000);

const rangesOf = (hub: Hub, file: string) =>
  hub.requests
    .filter((r) => r.path.endsWith(file))
    .map((r) => Number(/^bytes=(\d+)-$/.exec(r.headers.range ?? '')?.[1] ?? 0));

const quiet = () => ({ update() {}, stop() {} });

async function pullFrom(hub: Hub, registry: string, options: PullOptions = {}) {
  const pool = await createLocalPool({ threads: 1 });
  onTestFinished(() => pool.close());
  const common = { endpoint: hub.url, startProgress: quiet, retryMs: 1 };
  return pull('acme/ranker', registry, { pool, tokenizers }, { ...common, ...options });
}

/** Names that are not staging. */
const visible = async (folder: string) => (await readdir(folder)).filter((name) => !name.startsWith('.'));

beforeEach(() => {
  vi.stubEnv('HF_TOKEN', 'secret-token');
  return () => vi.unstubAllEnvs();
});

describe('pull', () => {
  it('fetches, proves and publishes, with hashes and where it came from', async () => {
    const [hub, registry] = [await openHub(), await scratch()];
    const published = await pullFrom(hub, registry, { label: 'stable' });
    expect(published).toMatchObject({ name: 'ranker', version: '1' });
    const manifest = await readManifest(published.folder);
    expect(manifest.source).toBe(`${hub.url}/acme/ranker@c0ffee`);
    expect(manifest.selfTest?.pairs).toHaveLength(4);
    const sha256 = createHash('sha256').update(hub.files['onnx/model.onnx']!).digest('hex');
    expect(manifest.files?.['onnx/model.onnx']?.sha256).toBe(sha256);
    expect(await readFile(join(published.folder, 'README.md'), 'utf8')).toBe('card');
    expect(await readdir(registry)).toEqual(['ranker']);
  });

  it('shows progress by bytes', async () => {
    const shown: string[] = [];
    const startProgress = (label: string, total: number) => ({
      update: (done: number) => shown.push(`${label} ${done}/${total}`),
      stop() {},
    });
    const hub = await openHub();
    await pullFrom(hub, await scratch(), { startProgress });
    const size = hub.files['onnx/model.onnx']!.length;
    expect(shown).toContain(`model.onnx ${size}/${size}`);
  });

  it('does not show the token of the hub to another server', async () => {
    const hub = await openHub();
    await pullFrom(hub, await scratch());
    expect(hub.requests.length).toBeGreaterThan(5);
    expect(hub.requests.filter((r) => r.headers.authorization !== undefined)).toEqual([]);
  });

  it.each<[PullOptions['variant'], string[]]>([
    ['auto', ['model.onnx']],
    ['fp32', ['model.onnx']],
    ['int8', ['model_int8.onnx']],
    ['fp16', ['model_fp16.onnx']],
    ['all', ['model.onnx', 'model_fp16.onnx', 'model_int8.onnx']],
  ])('variant %s fetches %j', async (variant, expected) => {
    const files = { 'onnx/model_int8.onnx': tinyGraph({ bias: 1 }), 'onnx/model_fp16.onnx': tinyGraph({ bias: 2 }) };
    const hub = await openHub({ ...files, 'onnx/model_quantized.onnx': 'not asked for' });
    const { folder } = await pullFrom(hub, await scratch(), { variant: variant! });
    expect((await readdir(join(folder, 'onnx'))).sort()).toEqual(expected);
  });

  it('variant int8 fetches the file for this processor where there is no other', async () => {
    const names = ['qint8_arm64', 'qint8_avx512_vnni', 'quint8_avx2'].map((name) => `model_${name}.onnx`);
    const hub = await openHub(Object.fromEntries(names.map((name) => [`onnx/${name}`, tinyGraph({ bias: 1 })])));
    const own = variantsOf(names)[0]!.file;
    for (const [variant, expected] of [
      ['int8', [own]],
      ['all', ['model.onnx', own]],
      ['auto', ['model.onnx']],
    ] as const) {
      const { folder } = await pullFrom(hub, await scratch(), { variant });
      expect((await readdir(join(folder, 'onnx'))).sort()).toEqual(expected);
    }
  });

  it('fetches the settings of sentence-transformers, and refuses what they need and the graph has not', async () => {
    const settings = { 'config_sentence_transformers.json': '{"activation_fn":"torch.nn.modules.linear.Identity"}' };
    const read = await pullFrom(
      await openHub({ ...settings, 'sentence_bert_config.json': '{"max_seq_length":40}' }),
      await scratch(),
    );
    expect(await readManifest(read.folder)).toMatchObject({ activation: 'none', maxLength: 40 });
    const modules = JSON.stringify(['Transformer', 'Dense'].map((name, idx) => ({ idx, path: '', type: `x.${name}` })));
    await expect(pullFrom(await openHub({ 'modules.json': modules }), await scratch())).rejects.toThrow(/got Dense/);
    await expect(pullFrom(await openHub({ 'adapter_config.json': '{}' }), await scratch())).rejects.toThrow(/adapter/);
  });

  it('fetches the modules of a bi-encoder, or takes its pooling from flags', async () => {
    const pool = await createLocalPool({ threads: 1 });
    onTestFinished(() => pool.close());
    const tiny = await writeTinyModel(await scratch());
    const bare = {
      'tokenizer.json': await readFile(join(tiny, 'tokenizer.json')),
      'config.json': JSON.stringify({ model_type: 'bert', hidden_size: 16, max_position_embeddings: 64 }),
      'onnx/model.onnx': encodeModel(tinyStates()),
    };
    const module = (path: string, type: string) => ({ path, type: `sentence_transformers.models.${type}` });
    const modular = {
      ...bare,
      'modules.json': JSON.stringify([module('', 'Transformer'), module('1_Pooling', 'Pooling')]),
      '1_Pooling/config.json': JSON.stringify({ word_embedding_dimension: 16, pooling_mode: 'cls' }),
    };
    const common = { startProgress: quiet, retryMs: 1 };
    const sides = { kind: 'bi-encoder', pooling: 'mean', passagePrefix: 'text: ' } as const;
    const read = async (files: Files, options: PullOptions) => {
      const { url: endpoint } = await openHub(files);
      const deps = { pool, tokenizers, writeGraph };
      const { folder } = await pull('acme/ranker', await scratch(), deps, { ...common, endpoint, ...options });
      return readManifest(folder);
    };
    expect(await read(modular, {})).toMatchObject({ kind: 'bi-encoder', passagePrefix: '' });
    expect(await read(bare, { sides })).toMatchObject({ kind: 'bi-encoder', passagePrefix: 'text: ' });
    await expect(read(bare, {})).rejects.toThrow(/import its folder with --bi-encoder and --pooling/);
  });

  it('says which variants there are when the one asked for is not', async () => {
    await expect(pullFrom(await openHub(), await scratch(), { variant: 'fp16' })).rejects.toThrow(
      /variant fp16, got fp32/,
    );
  });

  it('fetches external data, and refuses it outside the folder', async () => {
    const withData = (location: string) => {
      const model = decodeModel(tinyGraph());
      const table = Buffer.from(model.graph.initializers.get('table')!.bytes);
      const place = (name: string) => (name === 'table' ? { location, offset: 0, length: table.length } : undefined);
      return { 'onnx/model.onnx': encodeModel(model, place), 'onnx/model.onnx_data': table };
    };
    const { folder } = await pullFrom(await openHub(withData('model.onnx_data')), await scratch());
    expect((await readManifest(folder)).files).toHaveProperty(['onnx/model.onnx_data']);
    const registry = await scratch();
    await expect(pullFrom(await openHub(withData('../../../x')), registry)).rejects.toMatchObject({
      code: 'unsafe_path',
    });
    await expect(pullFrom(await openHub(withData('elsewhere')), registry)).rejects.toThrow(/elsewhere.*HTTP 404/);
    expect(await visible(registry)).toEqual([]);
  });

  it('takes a graph from the top folder where onnx/ has none', async () => {
    const hub = await openHub({ 'model.onnx': tinyGraph() });
    delete hub.files['onnx/model.onnx'];
    const { folder } = await pullFrom(hub, await scratch());
    expect(await readdir(folder)).toContain('model.onnx');
    delete hub.files['model.onnx'];
    hub.commit = 'next';
    await expect(pullFrom(hub, await scratch())).rejects.toThrow(/expected an ONNX file/);
  });

  it.each([
    [401, /a public repository that exists.*HTTP 401/],
    [403, /accept its terms.*HTTP 403/],
    [404, /a file that exists.*HTTP 404/],
  ])('HTTP %i is answered with what to do', async (status, message) => {
    const [hub, registry] = [await openHub(), await scratch()];
    hub.intercept = () => status;
    await expect(pullFrom(hub, registry)).rejects.toThrow(message);
    expect(await visible(registry)).toEqual([]);
  });

  it('a server that is not there is named', async () => {
    await expect(pullFrom({ ...(await openHub()), url: 'http://127.0.0.1:1' }, await scratch())).rejects.toThrow(
      /127\.0\.0\.1:1.*config\.json/,
    );
  });

  it('goes on after a broken connection, and after a bad moment of the server', async () => {
    const hub = await openHub({ 'README.md': LONG });
    const left = new Map<string, (number | 'drop')[]>([
      ['README.md', ['drop', 'drop', 503]],
      ['vocab.txt', [429, 500]],
    ]);
    hub.intercept = (path) => left.get(path.replace('/acme/ranker/resolve/main/', ''))?.shift();
    const { folder } = await pullFrom(hub, await scratch());
    expect((await readFile(join(folder, 'README.md'), 'utf8')) === LONG).toBe(true);
    const [first, second, third, fourth] = rangesOf(hub, 'README.md');
    expect(first).toBe(0);
    expect(second).toBeGreaterThan(0);
    expect(third).toBeGreaterThan(second!);
    expect(fourth).toBe(third);
  });

  it('fails after the last attempt, and a later call continues where it stopped', async () => {
    const [hub, registry] = [await openHub({ 'README.md': LONG }), await scratch()];
    hub.intercept = (path) => (path.endsWith('README.md') ? 'drop' : undefined);
    await expect(pullFrom(hub, registry)).rejects.toThrow(/README.md: expected the whole file.*4 tries; run again/);
    const staging = join(registry, (await readdir(registry))[0]!);
    const { size } = await stat(join(staging, 'README.md.part'));
    expect(size).toBeGreaterThan(0);
    hub.intercept = () => undefined;
    hub.requests.length = 0;
    const { folder } = await pullFrom(hub, registry);
    expect(rangesOf(hub, 'vocab.txt')).toEqual([]);
    expect(rangesOf(hub, 'README.md')).toEqual([size]);
    expect((await readFile(join(folder, 'README.md'), 'utf8')) === LONG).toBe(true);
    expect(await readdir(registry)).toEqual(['ranker']);
  });

  it('does not mix files of two commits', async () => {
    const [hub, registry] = [await openHub(), await scratch()];
    hub.intercept = (path, request) =>
      path.endsWith('onnx/model.onnx') && request.headers.range !== 'bytes=0-0' ? 500 : undefined;
    await expect(pullFrom(hub, registry)).rejects.toThrow(/run again/);
    hub.intercept = () => undefined;
    hub.commit = 'decade';
    hub.files['README.md'] = 'another card';
    hub.files['onnx/model.onnx'] = tinyGraph({ bias: 3 });
    const { folder } = await pullFrom(hub, registry);
    expect(await readFile(join(folder, 'README.md'), 'utf8')).toBe('another card');
    expect(await readFile(join(folder, 'onnx', 'model.onnx'))).toEqual(Buffer.from(hub.files['onnx/model.onnx']!));
    expect((await readManifest(folder)).source).toMatch(/@decade$/);
  });

  it('refuses a model as admission would, and a file beyond the limit', async () => {
    const registry = await scratch();
    const headless = { 'onnx/model.onnx': tinyGraph({ output: 'last_hidden_state', width: 4 }) };
    await expect(pullFrom(await openHub(headless), registry)).rejects.toThrow(/classification head/);
    expect(await readdir(registry)).toEqual([]);
    await expect(pullFrom(await openHub(), registry, { maxBytes: 500 })).rejects.toThrow(/at most 500 bytes/);
    expect(await visible(registry)).toEqual([]);
  });

  it.each(['../x', 'a/b/c', '/etc', 'a/../b', '', 'a b/c', 'http://x/y'])('refuses the repository %j', async (id) => {
    const deps = { pool: await createLocalPool({ threads: 1 }), tokenizers };
    await expect(pull(id, await scratch(), deps)).rejects.toMatchObject({ code: 'invalid_field' });
    await expect(pull('acme/ranker', await scratch(), deps, { revision: '../main' })).rejects.toMatchObject({
      code: 'invalid_field',
    });
    await expect(pull('acme/ranker', await scratch(), deps, { endpoint: 'ftp://x' })).rejects.toMatchObject({
      code: 'invalid_field',
    });
    await deps.pool.close();
  });
});
