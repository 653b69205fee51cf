import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { download } from '../../src/registry/download.ts';
import { selectFiles, type WantedVariant } from '../../src/registry/hub/hub-selection.ts';
import { type Environment, parseHubReference, readHubSettings } from '../../src/registry/hub/hub-settings.ts';
import { loadSnapshot, type SnapshotOptions } from '../../src/registry/hub/hub-snapshot.ts';
import { openHubServer } from '../support/hub-server.ts';
import { scratch, writeExport } from './support.ts';

const quiet = () => ({ update() {}, stop() {} });

/** A hub with a model `ranker` and an empty cache. */
async function openHub(
  files: Readonly<Record<string, string | Uint8Array>> = {},
  options: Parameters<typeof openHubServer>[1] = {},
) {
  const root = await scratch();
  const folder = await writeExport(join(root, 'ranker'));
  for (const [path, content] of Object.entries({ 'README.md': 'card', 'tf_model.h5': 'not needed', ...files })) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  const server = await openHubServer(root, options);
  onTestFinished(() => server.close());
  const home = await scratch();
  const env = (more: Environment = {}): Environment => ({ HF_ENDPOINT: server.url, HF_HOME: home, ...more });
  const load = async (more: Environment = {}, options: Partial<SnapshotOptions> & { revision?: string } = {}) => {
    const reference = { id: 'acme/ranker', revision: options.revision ?? 'main' };
    const found = await loadSnapshot(reference, {
      startProgress: quiet,
      retryMs: 1,
      ...options,
      hub: await readHubSettings(env(more)),
    });
    if (!found) throw new Error('no list');
    return found;
  };
  const cache = join(home, 'hub', 'models--acme--ranker');
  return { server, folder, home, cache, load };
}

type Hub = Awaited<ReturnType<typeof openHub>>;

const loaded = ({ server }: Hub) =>
  server.requests.filter((r) => r.method === 'GET' && !r.path.startsWith('/api/')).map((r) => r.path.split('/').at(-1));

describe('a model of the hub', () => {
  it.each([true, false])(
    'is loaded into the cache as huggingface_hub lays it out (sizes listed: %s)',
    async (hasSizes) => {
      const hub = await openHub({}, { hasSizes });
      const { folder, files, commit, origin } = await hub.load();
      expect(commit).toBe(hub.server.commit);
      expect(origin).toBe(`${hub.server.url}/acme/ranker@${commit}`);
      expect([...files].sort()).toEqual([
        'README.md',
        'config.json',
        'onnx/model.onnx',
        'tokenizer_config.json',
        'vocab.txt',
      ]);
      expect(folder).toBe(join(hub.cache, 'snapshots', commit));
      expect(await readFile(join(hub.cache, 'refs', 'main'), 'utf8')).toBe(commit);
      const graph = await readFile(join(hub.folder, 'onnx/model.onnx'));
      const sha256 = createHash('sha256').update(graph).digest('hex');
      expect(await readlink(join(folder, 'onnx/model.onnx'))).toBe(`../../../blobs/${sha256}`);
      expect(await readFile(join(folder, 'onnx/model.onnx'))).toEqual(graph);
      const config = await readFile(join(hub.folder, 'config.json'));
      const oid = createHash('sha1').update(`blob ${config.length}\0`).update(config).digest('hex');
      expect(await readlink(join(folder, 'config.json'))).toBe(`../../blobs/${oid}`);
      expect((await readdir(join(hub.cache, 'blobs'))).filter((name) => name.includes('.'))).toEqual([]);
    },
  );

  it.each([{ lists: 'tree' }, { hasHead: false, hasSizes: false }] as const)(
    'is loaded from a server with %j',
    async (options) => {
      const hub = await openHub({}, options);
      const { folder, commit, files } = await hub.load();
      expect(commit).toBe(hub.server.commit);
      for (const file of files)
        expect(await readFile(join(folder, file))).toEqual(await readFile(join(hub.folder, file)));
    },
  );

  it('is not loaded from a server without a list', async () => {
    const hub = await openHub({}, { lists: 'none' });
    await expect(hub.load()).rejects.toThrow('no list');
  });

  it('that cannot be read is refused before its weights are loaded', async () => {
    const hub = await openHub({ 'model.safetensors': 'large' });
    await rm(join(hub.folder, 'onnx'), { recursive: true });
    const checkWeights = async (folder: string) => {
      throw new Error(
        `unknown: ${await readFile(join(folder, 'vocab.txt'), 'utf8').then(() => 'small files are there')}`,
      );
    };
    await expect(hub.load({}, { checkWeights })).rejects.toThrow('unknown: small files are there');
    expect(loaded(hub)).not.toContain('model.safetensors');
  });

  it.each([{}, { hasSizes: false }])('larger than the limit is refused: %j', async (options) => {
    const hub = await openHub({ 'README.md': 'card '.repeat(140) }, options);
    await expect(hub.load({}, { maxBytes: 800 })).rejects.toThrow(
      /acme\/ranker: expected a model of at most 800 bytes in 2000 files .*got \d+ bytes in [2-5] files/,
    );
    expect(loaded(hub)).not.toContain('model.onnx');
  });

  it('is loaded once, by branch, tag and commit', async () => {
    const hub = await openHub();
    await hub.load();
    hub.server.requests.length = 0;
    for (const revision of ['main', 'v1', hub.server.commit]) await hub.load({}, { revision });
    expect(loaded(hub)).toEqual([]);
    expect((await readdir(join(hub.cache, 'refs'))).sort()).toEqual(['main', 'v1']);
  });

  it('takes files that another program loaded, and loads the rest', async () => {
    const hub = await openHub();
    const { folder } = await hub.load();
    await rm(await realpath(join(folder, 'vocab.txt')));
    hub.server.requests.length = 0;
    await hub.load();
    expect(loaded(hub)).toEqual(['vocab.txt']);
  });

  it('shows the token to the hub alone, not to the storage it redirects to', async () => {
    const hub = await openHub();
    hub.server.guarded.set('ranker', { kind: 'private', token: 'secret' });
    await hub.load({ HF_TOKEN: 'secret' });
    const seen = (host: string) => [...new Set(hub.server.requests.filter((r) => r.host === host).map((r) => r.token))];
    expect(seen('hub')).toEqual(['secret']);
    expect(seen('storage')).toEqual([undefined]);
  });

  it('is read with the token that `hf auth login` wrote', async () => {
    const hub = await openHub();
    hub.server.guarded.set('ranker', { kind: 'gated', token: 'filed' });
    await writeFile(join(hub.home, 'token'), 'filed\n');
    await hub.load();
    await expect(hub.load({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1', HF_HUB_CACHE: await scratch() })).rejects.toThrow(
      /HTTP 401/,
    );
  });

  it.each<readonly ['private' | 'gated', Environment, RegExp]>([
    ['private', {}, /expected a public repository that exists .*HF_TOKEN.*hf auth login.*got HTTP 401/],
    [
      'private',
      { HF_TOKEN: 'other' },
      /expected a repository that exists \(check the name; if it is private, HF_TOKEN.* may not read it\), got HTTP 404/,
    ],
    ['gated', {}, /accept its terms at http.*\/acme\/ranker.*set HF_TOKEN.*got HTTP 401/],
    ['gated', { HF_TOKEN: 'other' }, /accept its terms at http.*got HTTP 403/],
  ])('that is %s is refused with what to do: %j', async (kind, env, message) => {
    const hub = await openHub();
    hub.server.guarded.set('ranker', { kind, token: 'secret' });
    await expect(hub.load(env)).rejects.toThrow(message);
  });

  it('that does not exist, or not at that revision, is named', async () => {
    const hub = await openHub();
    await expect(hub.load({}, { revision: 'v9' })).rejects.toThrow(
      /a branch, tag or commit of acme\/ranker, got revision v9/,
    );
    await rm(hub.folder, { recursive: true });
    await expect(hub.load()).rejects.toThrow(/a public repository that exists/);
    await expect(hub.load({ HF_TOKEN: 'x' })).rejects.toThrow(/exists/);
  });
});

describe('an interrupted download', () => {
  const WEIGHTS = Buffer.alloc(6_000_000, 'weights ');
  const FILES = { 'model.safetensors': WEIGHTS };

  async function openWeights() {
    const hub = await openHub(FILES);
    await rm(join(hub.folder, 'onnx'), { recursive: true });
    return hub;
  }
  const ranges = (hub: Hub) =>
    hub.server.requests
      .filter((r) => r.host === 'storage' && r.method === 'GET')
      .map((r) => Number(/\d+/.exec(r.range ?? '0')));
  const incomplete = async (hub: Hub) =>
    (await readdir(join(hub.cache, 'blobs'))).filter((name) => name.endsWith('.incomplete'));

  it('goes on where it stopped, in the same call and in a later one', async () => {
    const hub = await openWeights();
    hub.server.intercept = (path) => (path.startsWith('/storage') ? { dropAfter: 1_000_000 } : undefined);
    await expect(hub.load()).rejects.toThrow(/the whole file.*4 tries; run again to continue/);
    expect(await incomplete(hub)).toHaveLength(1);
    const first = ranges(hub);
    expect(first).toHaveLength(4);
    expect(first.every((from, i) => i === 0 || from > first[i - 1]!)).toBe(true);
    hub.server.intercept = () => undefined;
    const { folder } = await hub.load();
    expect(ranges(hub).at(-1)).toBeGreaterThan(first[3]!);
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(WEIGHTS);
    expect(await incomplete(hub)).toEqual([]);
  });

  it('continues what another program left, and begins anew where its bytes are wrong', async () => {
    const hub = await openWeights();
    const sha256 = createHash('sha256').update(WEIGHTS).digest('hex');
    const part = join(hub.cache, 'blobs', `${sha256}.incomplete`);
    await mkdir(dirname(part), { recursive: true });
    await writeFile(part, WEIGHTS.subarray(0, 1000));
    await hub.load();
    expect(ranges(hub)).toEqual([1000]);
    await rm(hub.cache, { recursive: true });
    await mkdir(dirname(part), { recursive: true });
    await writeFile(part, Buffer.alloc(1000, 'x'));
    const { folder } = await hub.load();
    expect(ranges(hub).slice(1)).toEqual([1000, 0]);
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(WEIGHTS);
  });

  it('that is whole and was not put in place is taken without a byte more', async () => {
    const hub = await openWeights();
    const sha256 = createHash('sha256').update(WEIGHTS).digest('hex');
    await mkdir(join(hub.cache, 'blobs'), { recursive: true });
    await writeFile(join(hub.cache, 'blobs', `${sha256}.incomplete`), WEIGHTS);
    await hub.load();
    expect(ranges(hub)).toEqual([]);
  });

  it('whose bytes were changed on the way is refused by sha256, and nothing is kept', async () => {
    const hub = await openWeights();
    hub.server.intercept = (path) => (path.startsWith('/storage') ? { corrupt: true } : undefined);
    await expect(hub.load()).rejects.toThrow(
      /model\.safetensors: .*sha256 [0-9a-f]{64} was announced, [0-9a-f]{64} came/,
    );
    const left = await readdir(join(hub.cache, 'blobs'));
    expect(left.filter((name) => name.startsWith(createHash('sha256').update(WEIGHTS).digest('hex')))).toEqual([]);
  });

  it('that stands still is given up after a while', async () => {
    const hub = await openWeights();
    const mute = createServer(() => {});
    await new Promise<void>((done) => mute.listen(0, '127.0.0.1', done));
    onTestFinished(() => {
      mute.closeAllConnections();
      mute.close();
    });
    const { port } = mute.address() as AddressInfo;
    const options = {
      fetch: (url: string, init: RequestInit) => fetch(url, init),
      headers: {},
      maxBytes: 9,
      startProgress: quiet,
    };
    await expect(
      download(`http://127.0.0.1:${port}/x`, join(hub.home, 'x'), { ...options, retryMs: 1, idleMs: 20 }),
    ).rejects.toThrow(/no byte in 20 ms/);
  });

  it('is not begun on a disk without room, and says how to go on', async () => {
    const hub = await openWeights();
    await expect(hub.load({}, { freeBytes: async () => 1000 })).rejects.toThrow(
      /free space \(make room, or set HF_HUB_CACHE or HF_HOME to a folder of another disk.*a full disk \(ENOSPC\)/,
    );
  });

  it('into a folder that cannot be written says which setting names another', async () => {
    const hub = await openWeights();
    const file = join(hub.home, 'file');
    await writeFile(file, '');
    await expect(hub.load({ HF_HUB_CACHE: join(file, 'hub') })).rejects.toThrow(
      /expected a folder that can be written \(set HF_HUB_CACHE or HF_HOME to one\), got ENOTDIR/,
    );
  });
});

describe('offline', () => {
  it('a model of the cache is read without a request', async () => {
    const hub = await openHub();
    const online = await hub.load();
    hub.server.requests.length = 0;
    const offline = await hub.load({ HF_HUB_OFFLINE: '1' });
    expect(offline.folder).toBe(online.folder);
    expect([...offline.files].sort()).toEqual([...online.files].sort());
    await hub.load({ HF_HUB_OFFLINE: 'yes' }, { revision: hub.server.commit });
    expect(hub.server.requests).toEqual([]);
  });

  it('a model that the cache lacks is refused with what to do', async () => {
    const hub = await openHub();
    await expect(hub.load({ HF_HUB_OFFLINE: 'TRUE' })).rejects.toThrow(
      /acme\/ranker@main in the cache, because HF_HUB_OFFLINE is set \(run once without it.*got none/,
    );
    const { folder } = await hub.load();
    await rm(join(folder, 'onnx/model.onnx'));
    await expect(hub.load({ HF_HUB_OFFLINE: '1' })).rejects.toThrow(
      /acme\/ranker: expected an ONNX file, or model\.safetensors/,
    );
  });

  it('where the hub cannot be reached, the cache answers with a warning', async () => {
    const hub = await openHub();
    await hub.load();
    const warnings: string[] = [];
    const dead = { HF_ENDPOINT: 'http://127.0.0.1:1' };
    await hub.load(dead, { warn: (line) => warnings.push(line) });
    expect(warnings).toEqual([expect.stringMatching(/127\.0\.0\.1:1 cannot be reached .*read from the cache/)]);
    await expect(hub.load({ ...dead, HF_HUB_CACHE: await scratch() })).rejects.toThrow(
      /expected an answer of the hub, or acme\/ranker in the cache/,
    );
  });
});

describe('the files that a model needs', () => {
  const COMMON = [
    'config.json',
    'tokenizer.json',
    '.gitattributes',
    'rust_model.ot',
    'tf_model.h5',
    'openvino/openvino_model.xml',
  ];
  const choose = (files: readonly string[], variant: WantedVariant = 'auto') => {
    const { small, graphs, weights } = selectFiles(new Set([...COMMON, ...files]), variant, 'acme/x');
    return [...small, ...graphs, ...weights].filter((path) => !COMMON.includes(path));
  };

  it.each<readonly [readonly string[], WantedVariant, readonly string[]]>([
    [['model.safetensors', 'pytorch_model.bin'], 'auto', ['model.safetensors']],
    [
      ['pytorch_model.bin', 'model.safetensors.index.json', 'model-00001-of-00002.safetensors'],
      'auto',
      ['model.safetensors.index.json'],
    ],
    [['pytorch_model.bin'], 'fp32', ['pytorch_model.bin']],
    [
      ['model.safetensors', 'onnx/model.onnx', 'onnx/model_O4.onnx', 'onnx/model_int8.onnx'],
      'auto',
      ['onnx/model.onnx'],
    ],
    [
      ['model.safetensors', 'onnx/model.onnx', 'onnx/model_quantized.onnx'],
      'all',
      ['onnx/model.onnx', 'onnx/model_quantized.onnx'],
    ],
    [['model.safetensors', 'model.onnx'], 'auto', ['model.onnx']],
    [
      [
        'modules.json',
        '1_Pooling/config.json',
        '2_Dense/config.json',
        '2_Dense/model.safetensors',
        '2_Dense/pytorch_model.bin',
        'model.safetensors',
        'onnx/model.onnx',
      ],
      'auto',
      [
        'modules.json',
        '1_Pooling/config.json',
        '2_Dense/config.json',
        '2_Dense/model.safetensors',
        'model.safetensors',
      ],
    ],
    [
      ['modules.json', '1_Pooling/config.json', 'onnx/model.onnx'],
      'auto',
      ['modules.json', '1_Pooling/config.json', 'onnx/model.onnx'],
    ],
  ])('of %j with variant %s', (files, variant, expected) => {
    expect(choose(files, variant)).toEqual(expected);
  });

  it('that are missing are named with what is there', () => {
    expect(() => choose([])).toThrow(
      /acme\/x: expected an ONNX file, or model\.safetensors or pytorch_model\.bin .*got .*tf_model\.h5/,
    );
    expect(() => selectFiles(new Set(['a.txt']), 'auto', 'acme/x')).toThrow(/expected config\.json, got a\.txt/);
    expect(() => choose(['model.safetensors'], 'int8')).toThrow(/variant int8, got a repository without ONNX files/);
    expect(() => choose(['modules.json', '1_Pooling/config.json', 'onnx/model_int8.onnx'], 'int8')).toThrow(
      /modular folder/,
    );
  });
});

describe('settings', () => {
  it.each<readonly [Environment, string, string]>([
    [{ HOME: '/home/a' }, '/home/a/.cache/huggingface/hub', 'https://huggingface.co'],
    [{ HOME: '/home/a', XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub', 'https://huggingface.co'],
    [{ HF_HOME: '/h', HF_ENDPOINT: 'https://mirror.example/' }, '/h/hub', 'https://mirror.example'],
    [{ HF_HOME: '/h', HF_HUB_CACHE: '/c' }, '/c', 'https://huggingface.co'],
    [
      { HOME: '/home/a', HF_HOME: '', HF_HUB_CACHE: '', HF_ENDPOINT: '', XDG_CACHE_HOME: '' },
      '/home/a/.cache/huggingface/hub',
      'https://huggingface.co',
    ],
    [{ HUGGINGFACE_HUB_CACHE: '/old' }, '/old', 'https://huggingface.co'],
  ])('%j', async (env, cache, endpoint) => {
    expect(await readHubSettings({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1', ...env })).toEqual({
      cache,
      endpoint,
      isOffline: false,
      token: undefined,
    });
  });

  it('give the token to the server of HF_ENDPOINT and to no other that a command names', async () => {
    const env = { HF_TOKEN: 'a', HF_ENDPOINT: 'https://hub.example', HF_HOME: '/none' };
    expect((await readHubSettings(env)).token).toBe('a');
    expect((await readHubSettings(env, 'https://mirror.example')).token).toBeUndefined();
    expect((await readHubSettings(env, 'https://huggingface.co')).token).toBe('a');
  });

  it.each([
    ['cross-encoder/ettin-reranker-17m-v1', { id: 'cross-encoder/ettin-reranker-17m-v1', revision: 'main' }],
    ['org/name@refs/pr/1', { id: 'org/name', revision: 'refs/pr/1' }],
    ['./org/name', undefined],
    ['/org/name', undefined],
    ['name', undefined],
    ['a/b/c', undefined],
    ['org/name@../x', undefined],
  ])('read %s as a model of the hub or not', (text, expected) => {
    expect(parseHubReference(text)).toEqual(expected);
  });
});

it('a link of the cache is a link', async () => {
  const hub = await openHub();
  const { folder } = await hub.load();
  expect((await lstat(join(folder, 'config.json'))).isSymbolicLink()).toBe(true);
  expect((await stat(join(folder, 'config.json'))).isFile()).toBe(true);
});
