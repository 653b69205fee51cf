import { afterEach, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type { ServedVersion } from '../../src/registry/registry-types.ts';
import { createTokenReader, type TokensRequest } from '../../src/rerank/text-tokens.ts';
import { createTokenizerPool, type TokenizerPool } from '../../src/tokenization/tokenizer-pool.ts';
import { SHIPPED, SHIPPED_NAME } from '../support/shipped.ts';

let leases = 0;
const registry = {
  async acquire(reference: string = SHIPPED_NAME) {
    if (reference !== SHIPPED_NAME) throw new WinnowError('unknown_model', { known: SHIPPED_NAME, got: reference });
    const version = { name: SHIPPED_NAME, version: '1', key: 'a', folder: SHIPPED } as ServedVersion;
    leases++;
    return { version, release: () => void leases-- };
  },
};

let pool: TokenizerPool | undefined;
afterEach(async () => {
  await pool?.close();
  expect(leases).toBe(0);
});

const openPool = () => {
  pool = createTokenizerPool({ threads: 1, cacheBytes: 1 << 20 });
  return pool;
};
const ask = (more: Partial<TokensRequest> = {}): TokensRequest => ({
  texts: ['fleas', ''],
  special: true,
  atMost: 100,
  deadlineMs: 60_000,
  ...more,
});

describe('tokens of texts', () => {
  it('are those of the model that a request names, by threads of a pool', async () => {
    const reader = createTokenReader({ registry, tokenizers: openPool() });
    for (const model of [undefined, SHIPPED_NAME]) {
      const { texts, spelling, ...named } = await reader.tokens(ask(model === undefined ? {} : { model }));
      expect(named).toEqual({ model: SHIPPED_NAME, version: '1' });
      expect(texts.map(({ ids }) => Array.from(ids, (id) => spelling.get(id)))).toEqual([
        ['[CLS]', 'flea', 's', '[SEP]'],
        ['[CLS]', '[SEP]'],
      ]);
    }
    await expect(reader.tokens(ask({ model: 'nobody' }))).rejects.toMatchObject({ code: 'unknown_model' });
    await expect(reader.tokens(ask({ atMost: 1 }))).rejects.toMatchObject({ code: 'invalid_field' });
  });

  it('end with the deadline and with the client, also while a tokenizer is loaded', async () => {
    const never = { for: () => new Promise<never>(() => {}) };
    const reader = createTokenReader({ registry, tokenizers: never });
    await expect(reader.tokens(ask({ deadlineMs: 5 }))).rejects.toMatchObject({ code: 'deadline_exceeded' });
    const client = new AbortController();
    const waiting = reader.tokens(ask({ signal: client.signal }));
    client.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'client_closed' });
  });

  it('end with the pool', async () => {
    const opened = openPool();
    const reader = createTokenReader({ registry, tokenizers: opened });
    await reader.tokens(ask());
    await opened.close();
    await expect(reader.tokens(ask())).rejects.toMatchObject({ code: 'shutting_down' });
  });
});
