import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { PairTokenizer } from '../../src/tokenization/tokenization-types.ts';
import {
  createTokenizerPool,
  type TokenizerPool,
  type TokenizerPoolOptions,
} from '../../src/tokenization/tokenizer-pool.ts';
import { PAIR_OPTIONS, pairTokenizerContract } from '../contracts/pair-tokenizer.ts';
import { hasShared, SHIPPED, TOKENIZERS } from './corpora.ts';

for (const threads of [1, 2])
  pairTokenizerContract(`a pool of ${threads}`, SHIPPED, async () => {
    const pool = createTokenizerPool({ threads, cacheBytes: 1 << 20 });
    return { tokenizer: await pool.for(SHIPPED), close: () => pool.close() };
  });

/** Every worker thread started from here on, in order. */
const started: Worker[] = [];
const note = (worker: Worker) => void started.push(worker);
let scratch: string;
beforeAll(async () => {
  process.on('worker', note);
  scratch = await mkdtemp(join(tmpdir(), 'winnow-pool-'));
});
afterAll(async () => {
  process.off('worker', note);
  await rm(scratch, { recursive: true, force: true });
});

const pools: TokenizerPool[] = [];
function newPool(options: Partial<TokenizerPoolOptions> = {}): TokenizerPool {
  started.length = 0;
  const pool = createTokenizerPool({ threads: 1, cacheBytes: 1 << 20, ...options });
  pools.push(pool);
  return pool;
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

const texts = (count: number, words = 300) =>
  Array.from({ length: count }, (_, i) => `passage ${i} ${'tokenizers turn text into numbers '.repeat(words / 5)}`);

describe('cache', () => {
  it('tokenizes each passage once, and the query once a request', async () => {
    const pool = newPool();
    const tokenizer = await pool.for(SHIPPED);
    await tokenizer.encode('q', ['one', 'two', 'one'], PAIR_OPTIONS);
    expect(pool.stats().cache).toMatchObject({ hits: 0, misses: 4, entries: 3 });
    await tokenizer.encode('q', ['two', 'three'], PAIR_OPTIONS);
    expect(pool.stats().cache).toMatchObject({ hits: 2, misses: 5, entries: 4 });
  });

  it('is shared by folders with the same vocabulary, which is in memory once', async () => {
    const twin = join(scratch, 'twin');
    await cp(SHIPPED, twin, { recursive: true, filter: (path) => !path.endsWith('.onnx') });
    const pool = newPool();
    const [a, b] = [await pool.for(SHIPPED), await pool.for(twin)];
    await a.encode('q', ['one'], PAIR_OPTIONS);
    await b.encode('q', ['one'], PAIR_OPTIONS);
    expect(pool.stats()).toMatchObject({ tokenizers: 1, cache: { hits: 2, misses: 2 } });
    await a.close();
    expect(pool.stats().tokenizers).toBe(1);
    expect((await b.encode('q', ['still there'], PAIR_OPTIONS)).rows).toHaveLength(1);
    await b.close();
    expect(pool.stats().tokenizers).toBe(0);
  });

  it('opens a folder that was changed anew, while the old tokenizer goes on', async () => {
    const folder = join(scratch, 'changing');
    await cp(SHIPPED, folder, { recursive: true, filter: (path) => !path.endsWith('.onnx') });
    const pool = newPool();
    const before = await pool.for(folder);
    const definition = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8'));
    definition.normalizer.lowercase = false;
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(definition));
    const after = await pool.for(folder);
    expect(pool.stats().tokenizers).toBe(2);
    const idsOf = async (tokenizer: PairTokenizer, text: string) =>
      (await tokenizer.encode('q', [text], PAIR_OPTIONS)).rows[0]!.ids;
    expect(await idsOf(before, 'EGG')).toEqual(await idsOf(before, 'egg'));
    expect(await idsOf(after, 'EGG')).not.toEqual(await idsOf(after, 'egg'));
    await before.close();
    expect(await idsOf(await pool.for(folder), 'egg')).toEqual(await idsOf(after, 'egg'));
    expect(pool.stats().tokenizers).toBe(1);
  });

  it('keeps within its bytes, dropping what was used least recently', async () => {
    const pool = newPool({ cacheBytes: 20_000 });
    const tokenizer = await pool.for(SHIPPED);
    await tokenizer.encode('q', texts(40), PAIR_OPTIONS);
    const { bytes, entries } = pool.stats().cache;
    expect(bytes).toBeLessThanOrEqual(20_000);
    expect(entries).toBeGreaterThan(3);
    expect(entries).toBeLessThan(40);
  });

  it('is off at 0 bytes', async () => {
    const pool = newPool({ cacheBytes: 0 });
    const tokenizer = await pool.for(SHIPPED);
    for (let i = 0; i < 2; i++) await tokenizer.encode('q', ['one'], PAIR_OPTIONS);
    expect(pool.stats().cache).toEqual({ hits: 0, misses: 4, entries: 0, bytes: 0 });
  });
});

describe('threads that are lost', () => {
  it('a chunk under way is done again on a new thread', async () => {
    const pool = newPool();
    const tokenizer = await pool.for(SHIPPED);
    const passages = texts(500);
    const underWay = tokenizer.encode('q', passages, PAIR_OPTIONS);
    await once(started[0]!, 'message');
    await started[0]!.terminate();
    const { rows } = await underWay;
    const local = await createLocalTokenizer(SHIPPED);
    expect(String(rows.map((r) => r.ids))).toBe(
      String((await local.encode('q', passages, PAIR_OPTIONS)).rows.map((r) => r.ids)),
    );
    expect(pool.stats()).toMatchObject({ restarts: 1, queued: 0 });
    expect(started).toHaveLength(2);
  });

  it('a text of millions of characters needs bounded memory', async () => {
    // Taken whole, the words of this text fill such a heap, and the process ends with it.
    const pool = newPool({ memoryMb: 256 });
    const tokenizer = await pool.for(SHIPPED);
    const { fullLengths } = await tokenizer.encode('q', ['abé '.repeat(5_000_000)], PAIR_OPTIONS);
    expect(fullLengths[0]).toBe(4 + 5_000_000);
    expect(pool.stats().restarts).toBe(0);
  });

  it('requests of others finish on the threads that are left', async () => {
    const pool = newPool({ threads: 2 });
    const tokenizer = await pool.for(SHIPPED);
    const requests = [1, 2, 3, 4].map((n) => tokenizer.encode(`q${n}`, texts(100 + n), PAIR_OPTIONS));
    await started[1]!.terminate();
    expect((await Promise.all(requests)).map((r) => r.rows.length)).toEqual([101, 102, 103, 104]);
  });
});

describe('cancelling', () => {
  it('takes waiting chunks out and rejects at once', async () => {
    const pool = newPool({ cacheBytes: 0 });
    const tokenizer = await pool.for(SHIPPED);
    const abort = new AbortController();
    const attempt = tokenizer.encode('q', texts(2000), PAIR_OPTIONS, abort.signal);
    await once(started[0]!, 'message');
    abort.abort(new Error('gone'));
    await expect(attempt).rejects.toThrow('gone');
    expect(pool.stats().queued).toBe(0);
    expect((await tokenizer.encode('q', ['next'], PAIR_OPTIONS)).rows).toHaveLength(1);
  });

  it('closing the pool rejects what is under way', async () => {
    const pool = newPool();
    const tokenizer = await pool.for(SHIPPED);
    const attempt = tokenizer.encode('q', texts(500), PAIR_OPTIONS);
    const outcome = expect(attempt).rejects.toMatchObject({ code: 'shutting_down' });
    await once(started[0]!, 'message');
    await pool.close();
    await outcome;
    await expect(pool.for(SHIPPED)).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

it('a large request does not hold up a small one', async () => {
  const pool = newPool({ cacheBytes: 0 });
  const tokenizer = await pool.for(SHIPPED);
  const finished: string[] = [];
  const large = tokenizer.encode('q', texts(1500), PAIR_OPTIONS).then(() => finished.push('large'));
  await once(started[0]!, 'message');
  const small = tokenizer.encode('q', texts(10), PAIR_OPTIONS).then(() => finished.push('small'));
  await Promise.all([large, small]);
  expect(finished).toEqual(['small', 'large']);
});

it('a text of millions of characters does not hold up a small one, at the same thread', async () => {
  const pool = newPool({ cacheBytes: 0 });
  const tokenizer = await pool.for(SHIPPED);
  const finished: string[] = [];
  const large = tokenizer.encode('q', ['naïve words '.repeat(700_000)], PAIR_OPTIONS).then((made) => {
    finished.push('large');
    return made;
  });
  await vi.waitFor(() => expect(pool.stats().busy).toBe(1), { timeout: 10_000, interval: 1 });
  for (const text of ['one', 'two', 'three'])
    await tokenizer.encode('q', [text], PAIR_OPTIONS).then(() => finished.push(text));
  expect((await large).fullLengths[0]).toBe(4 + 1_400_000);
  expect(finished).toEqual(['one', 'two', 'three', 'large']);
});

describe('loading', () => {
  it('many at once, closed in between, and a thread lost meanwhile: all work', async () => {
    const pool = newPool({ threads: 2, cacheBytes: 0 });
    const early = await pool.for(SHIPPED);
    const opening = [1, 2, 3].map(() => pool.for(SHIPPED));
    const closing = early.close();
    await started[1]!.terminate();
    const tokenizers = await Promise.all(opening);
    await closing;
    expect(pool.stats()).toMatchObject({ tokenizers: 1, restarts: 1 });
    // More chunks than threads, so that each thread gets some.
    const requests = tokenizers.map((t) => t.encode('q', texts(300, 50), PAIR_OPTIONS));
    expect((await Promise.all(requests)).map((r) => r.rows.length)).toEqual([300, 300, 300]);
    await Promise.all(tokenizers.flatMap((t) => [t.close(), t.close()]));
    expect(pool.stats().tokenizers).toBe(0);
  });

  it('a hostile folder is refused by file and field, the threads live on', async () => {
    const folder = join(scratch, 'hostile');
    await mkdir(folder);
    await writeFile(join(folder, 'tokenizer.json'), '{"model":{"type":"WordPiece","vocab":{"a":"b"},"unk_token":"a"}}');
    const pool = newPool();
    const good = await pool.for(SHIPPED);
    await expect(pool.for(folder)).rejects.toMatchObject({
      name: 'WinnowError',
      code: 'invalid_manifest',
      params: { field: 'model.vocab["a"]', file: join(folder, 'tokenizer.json') },
    });
    expect(pool.stats()).toMatchObject({ restarts: 0, tokenizers: 1 });
    expect((await good.encode('q', ['fine'], PAIR_OPTIONS)).rows).toHaveLength(1);
  });

  it.skipIf(!hasShared)(
    'several vocabularies live side by side, also after a thread was replaced (needs ../shared)',
    async () => {
      const pool = newPool({ cacheBytes: 0 });
      const [bert, roberta] = [await pool.for(SHIPPED), await pool.for(join(TOKENIZERS, 'roberta'))];
      const ids = async (t: typeof bert) => [...(await t.encode('q', ['passage'], PAIR_OPTIONS)).rows[0]!.ids];
      const before = [await ids(bert), await ids(roberta)];
      await started[0]!.terminate();
      expect([await ids(bert), await ids(roberta)]).toEqual(before);
      expect(before[0]).not.toEqual(before[1]);
    },
  );
});

it('runs from the build as well as from the sources', async () => {
  const root = join(import.meta.dirname, '..', '..');
  const out = join(root, 'node_modules', '.cache', `winnow-build-${process.pid}`);
  const run = promisify(execFile);
  try {
    // Other parts' type errors are not this test's matter: the files are written all the same.
    await run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', out],
      { cwd: root },
    ).catch(() => undefined);
    const script = `
      const { createTokenizerPool } = await import(${JSON.stringify(join(out, 'tokenization/tokenizer-pool.js'))});
      const pool = createTokenizerPool({ threads: 1, cacheBytes: 0 });
      const tokenizer = await pool.for(${JSON.stringify(SHIPPED)});
      const { rows } = await tokenizer.encode('a', ['b'], ${JSON.stringify(PAIR_OPTIONS)});
      console.log(JSON.stringify([...rows[0].ids]));`;
    // Nobody closes the pool: an idle pool must not keep a process alive.
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: root });
    expect(JSON.parse(stdout)).toEqual([101, 1037, 102, 1038, 102]);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
});
