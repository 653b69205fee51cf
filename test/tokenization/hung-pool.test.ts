import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  createTokenizerPool,
  type TokenizerPool,
  type TokenizerPoolOptions,
} from '../../src/tokenization/tokenizer-pool.ts';
import { PAIR_OPTIONS } from '../contracts/pair-tokenizer.ts';
import { hasShared, SHIPPED, TOKENIZERS } from './corpora.ts';

let scratch: string;
/** A model folder whose tokenizer needs seconds for each piece of `ENDLESS`: each of its patterns tries every start up to the end. */
let slow: string;
const ENDLESS = 'a'.repeat(2_000_000);
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'winnow-hung-'));
  slow = join(scratch, 'slow');
  await cp(SHIPPED, slow, { recursive: true, filter: (path) => !path.endsWith('.onnx') });
  const definition = JSON.parse(await readFile(join(slow, 'tokenizer.json'), 'utf8'));
  const step = { type: 'Replace', pattern: { Regex: 'a+b' }, content: 'x' };
  definition.normalizer = { type: 'Sequence', normalizers: Array.from({ length: 60 }, () => step) };
  await writeFile(join(slow, 'tokenizer.json'), JSON.stringify(definition));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));
/** A chunk that needs about ten seconds, in texts of less than a second each: it makes progress, but exceeds its limit. */
const LONG = Array.from({ length: 40 }, (_, i) => `${'a'.repeat(3000)} ${i}`);

const pools: TokenizerPool[] = [];
function newPool(options: Partial<TokenizerPoolOptions> = {}): TokenizerPool {
  const pool = createTokenizerPool({ threads: 1, cacheBytes: 0, ...options });
  pools.push(pool);
  return pool;
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

const busy = (pool: TokenizerPool) =>
  vi.waitFor(() => expect(pool.stats().busy).toBe(1), { timeout: 10_000, interval: 5 });

describe.skipIf(!hasShared)('texts that used to hang a thread (needs ../shared)', () => {
  it.each(['bert-uncased', 'roberta', 'modernbert', 'deberta-v3'])('%s takes them in its stride', async (name) => {
    const pool = newPool({ stallMs: 20_000 });
    const tokenizer = await pool.for(join(TOKENIZERS, name));
    const texts = [
      `a${'\u0300\u0316'.repeat(150_000)}`,
      '\u0f71\u0f81'.repeat(150_000),
      '\ufdfa'.repeat(300_000),
      '\u1100\u1161\u11a8'.repeat(100_000),
      'ab'.repeat(500_000),
      'a'.repeat(1_000_000),
      ' '.repeat(1_000_000),
      '. '.repeat(500_000),
      '\n'.repeat(300_000),
      'क्'.repeat(150_000),
    ];
    const { rows } = await tokenizer.encode('q', texts, PAIR_OPTIONS);
    expect(rows).toHaveLength(texts.length);
    expect(pool.stats().restarts).toBe(0);
  });
});

describe('a chunk that hangs', () => {
  it('ends with its request; the requests behind it are served and not counted against', async () => {
    const pool = newPool({ stallMs: 120_000, graceMs: 50 });
    const [good, bad] = [await pool.for(SHIPPED), await pool.for(slow)];
    // A signal that comes before the thread has begun the text ends it without a hang; then it is tried again.
    for (let tries = 0; pool.stats().restarts === 0 && tries < 20; tries++) {
      const abort = new AbortController();
      const attempt = bad.encode('q', [ENDLESS], PAIR_OPTIONS, abort.signal);
      await busy(pool);
      const behind = ['one', 'two', 'three'].map((text) => good.encode('q', [text], PAIR_OPTIONS));
      abort.abort(new Error('gone'));
      await expect(attempt).rejects.toThrow('gone');
      expect((await Promise.all(behind)).map(({ rows }) => rows.length)).toEqual([1, 1, 1]);
    }
    expect(pool.stats()).toMatchObject({ restarts: 1, queued: 0 });
  });

  it('that exceeds its limit twice is rejected with a clear error; the pool continues', async () => {
    const pool = newPool({ limitMs: 1000, stallMs: 120_000 });
    const bad = await pool.for(slow);
    await expect(bad.encode('q', LONG, PAIR_OPTIONS)).rejects.toMatchObject({
      code: 'tokenization_failed',
      message: /lost twice while tokenizing: no answer within 1000 ms/,
    });
    expect(pool.stats().restarts).toBe(2);
    expect((await bad.encode('q', ['fine'], PAIR_OPTIONS)).rows).toHaveLength(1);
  });

  it('loses its thread when it makes no progress; its model is taken out, no other is', async () => {
    const pool = newPool({ stallMs: 500 });
    const [good, bad] = [await pool.for(SHIPPED), await pool.for(slow)];
    const failing = (message: RegExp) =>
      expect(bad.encode('q', [ENDLESS], PAIR_OPTIONS)).rejects.toMatchObject({ code: 'tokenization_failed', message });
    await failing(/lost twice while tokenizing: no progress within 500 ms/);
    await failing(/lost once while tokenizing/);
    await failing(/2 chunks of texts ended their threads; the model's tokenizer is used again in 1 s/);
    expect((await good.encode('q', ['fine'], PAIR_OPTIONS)).rows).toHaveLength(1);
    expect(pool.stats().restarts).toBe(3);
    // Once it is used again, an ordinary text is tokenized.
    await vi.waitFor(async () => expect((await bad.encode('q', ['fine'], PAIR_OPTIONS)).rows).toHaveLength(1), {
      timeout: 20_000,
    });
  });

  it('gives up between two texts once its request has ended, and keeps its thread', async () => {
    const pool = newPool({ stallMs: 120_000, graceMs: 60_000 });
    const bad = await pool.for(slow);
    const abort = new AbortController();
    const slowly = Array.from({ length: 60 }, (_, i) => `${'a'.repeat(600)} ${i}`);
    const attempt = bad.encode('q', slowly, PAIR_OPTIONS, abort.signal);
    await busy(pool);
    abort.abort(new Error('gone'));
    await expect(attempt).rejects.toThrow('gone');
    expect((await bad.encode('q', ['fine'], PAIR_OPTIONS)).rows).toHaveLength(1);
    expect(pool.stats().restarts).toBe(0);
  });
});
