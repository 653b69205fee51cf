import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddedTokens } from '../../src/tokenization/added-tokens.ts';
import { FairQueue } from '../../src/tokenization/fair-queue.ts';
import { IdBuffer } from '../../src/tokenization/id-buffer.ts';
import { MergeTable } from '../../src/tokenization/merge-table.ts';
import { TokenCache } from '../../src/tokenization/token-cache.ts';
import { UnitTrie } from '../../src/tokenization/trie.ts';

describe('the trie', () => {
  const key = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '中', '🦙'), maxLength: 6 });

  it('finds what a map finds, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.nat()), { maxLength: 200 }), fc.array(key), (entries, probes) => {
        // Starting tiny makes it grow.
        const trie = new UnitTrie(1);
        for (const [text, value] of entries) trie.insert(text, value);
        const map = new Map(entries);
        for (const text of [...map.keys(), ...probes]) {
          const node = trie.find(text);
          expect(node < 0 ? -1 : trie.value(node)).toBe(map.get(text) ?? -1);
        }
      }),
    );
  });
});

it('the merge table finds pairs and keeps the later rank of a pair set twice', () => {
  const pair = fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 40 }));
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 100 }), pair, (pairs, probe) => {
      const table = new MergeTable(pairs.length);
      for (const [rank, [left, right]] of pairs.entries()) table.set(left, right, rank, left * 100 + right);
      for (const [left, right] of [...pairs, probe]) {
        const rank = pairs.findLastIndex(([l, r]) => l === left && r === right);
        const slot = table.find(left, right);
        expect(slot < 0 ? -1 : table.rank(slot)).toBe(rank);
        if (slot >= 0) expect(table.merged(slot)).toBe(left * 100 + right);
      }
    }),
  );
});

it('the id buffer grows, goes back and hands out copies', () => {
  const ids = new IdBuffer();
  for (let i = 0; i < 5000; i++) ids.push(i);
  ids.truncate(4000);
  ids.append(Int32Array.from({ length: 3000 }, (_, i) => -i));
  expect(ids.length).toBe(7000);
  const taken = ids.take();
  expect([taken[3999], taken[4000], taken[6999], taken.length, taken.buffer.byteLength]).toEqual([
    3999, 0, -2999, 7000, 28_000,
  ]);
  expect(ids.length).toBe(0);
});

describe('added tokens', () => {
  const token = (content: string, settings: object = {}) => ({
    id: 1,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    special: true,
    normalized: false,
    ...settings,
  });

  it('takes the leftmost, then the longest, pattern characters and all', () => {
    const tokens = [token('[A]'), token('[A][B]', { id: 2 }), token('.*', { id: 3 }), token('')];
    const added = new AddedTokens(tokens, null);
    expect(added.splitRaw('x[A][B][A]y.*z')).toEqual(['x', 2, 1, 'y', 3, 'z']);
    expect(added.occursIn('[a] *.')).toBe(false);
  });

  it('lets tokens eat the blanks beside them', () => {
    const added = new AddedTokens([token('<m>', { lstrip: true, rstrip: true })], null);
    expect(added.splitRaw('a  <m> b')).toEqual(['a', 1, 'b']);
  });

  it('takes a single_word token only between blanks, marks and the ends of a text', () => {
    const added = new AddedTokens([token('new', { single_word: true })], null);
    expect(added.splitRaw('new renew news (new)')).toEqual([1, ' renew news (', 1, ')']);
    expect(added.splitRaw('\u{10400}new né-new\u0301')).toEqual(['\u{10400}new né-new\u0301']);
  });

  it('looks for normalized tokens behind the normalizer', () => {
    const added = new AddedTokens([token('Foo', { normalized: true })], (text) => text.toLowerCase());
    expect(added.splitRaw('a Foo')).toEqual(['a Foo']);
    expect(added.splitNormalized('a foo')).toEqual(['a ', 1]);
  });
});

describe('the fair queue', () => {
  it('gives each group its turn and keeps the order within a group', () => {
    const queue = new FairQueue<string>();
    const [large, small] = [{}, {}];
    for (const job of ['a1', 'a2', 'a3']) queue.push(large, job);
    for (const job of ['b1', 'b2']) queue.push(small, job);
    expect(queue.size).toBe(5);
    expect(Array.from({ length: 6 }, () => queue.shift())).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', undefined]);
  });

  it('gives each share its turn, whatever the number of its groups', () => {
    const queue = new FairQueue<string>();
    const group = {};
    for (const job of ['a1', 'a2']) queue.push(group, job, 'a');
    for (const job of ['a3', 'a4']) queue.push({}, job, 'a');
    queue.push({}, 'b1', 'b');
    queue.push({}, 'b2', 'b');
    queue.push({}, 'c1');
    expect(Array.from({ length: 5 }, () => queue.shift())).toEqual(['a1', 'b1', 'c1', 'a3', 'b2']);
    expect(queue.drop(group)).toEqual(['a2']);
    expect([queue.shift(), queue.shift(), queue.size]).toEqual(['a4', undefined, 0]);
  });

  it('drops a group, or everything', () => {
    const queue = new FairQueue<number>();
    const group = {};
    queue.push(group, 1);
    queue.push({}, 2);
    queue.push(group, 3);
    expect(queue.drop(group)).toEqual([1, 3]);
    expect(queue.drop(group)).toEqual([]);
    expect(queue.size).toBe(1);
    expect(queue.clear()).toEqual([2]);
    expect(queue.shift()).toBeUndefined();
  });
});

describe('the cache', () => {
  const ids = Int32Array.from([1, 2, 3]);

  it('tells tokenizers apart and counts', () => {
    const cache = new TokenCache(10_000);
    cache.set(cache.keyOf('a', 'text'), ids);
    expect(cache.get(cache.keyOf('a', 'text'))).toEqual(ids);
    expect(cache.get(cache.keyOf('b', 'text'))).toBeUndefined();
    expect(cache.stats()).toMatchObject({ hits: 1, misses: 1, entries: 1 });
  });

  it('keeps a copy, so that an entry never holds on to a larger buffer', () => {
    const cache = new TokenCache(10_000);
    cache.set('k', new Int32Array(1000).subarray(0, 3));
    expect(cache.get('k')!.buffer.byteLength).toBe(12);
  });

  it('does not keep very long texts', () => {
    expect(new TokenCache(1 << 20).keyOf('a', 'x'.repeat(100_000))).toBeUndefined();
  });
});
