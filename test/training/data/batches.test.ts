import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EncodedRow, PairTokenizer } from '../../../src/tokenization/tokenization-types.ts';
import { batches, formBatch } from '../../../src/training/data/batches.ts';
import type { CandidateList, ListSource } from '../../../src/training/data/list-types.ts';
import { createRandom } from '../../../src/util/random.ts';

const row = (length: number): EncodedRow => ({
  ids: new Int32Array(length).fill(1),
  secondSegment: 1,
  truncated: false,
});

/** Makes rows as long as their passages, and counts calls. */
function textLengthTokenizer(): PairTokenizer & { calls: number } {
  return {
    folder: '',
    padId: 0,
    calls: 0,
    async encode(_, passages) {
      this.calls++;
      const rows = passages.map((p) => row(p.length + 1));
      return {
        rows,
        passageOf: Int32Array.from(passages.keys()),
        truncated: passages.map(() => false),
        queryCut: new Int32Array(passages.length),
        overLength: passages.map(() => false),
        fullLengths: new Int32Array(passages.length),
        tokens: 0,
      };
    },
    encodeTexts(texts, options) {
      return this.encode('', texts, options);
    },
    async close() {},
  };
}

function source(count: number): ListSource {
  const all: CandidateList[] = Array.from({ length: count }, (_, i) => ({
    qid: `q${i}`,
    query: 'q',
    passages: Array.from({ length: 2 + (i % 3) }, (_, p) => 'x'.repeat(1 + ((i * 7 + p) % 40))),
    relevance: Array.from({ length: 2 + (i % 3) }, (_, p) => (p === 0 ? 1 : 0)),
    teacher: Array.from({ length: 2 + (i % 3) }, (_, p) => i + p),
  }));
  return {
    files: [],
    skipped: () => ({}),
    leftOut: () => [],
    notes: () => [],
    async *usage() {},
    async addKnown() {},
    async *lists(seed) {
      yield* createRandom(seed).shuffle([...all]);
    },
    async *whole() {
      yield* all;
    },
  };
}

const OPTIONS = {
  queries: 3,
  bucketBatches: 4,
  seed: 5,
  pairs: {
    maxLength: 64,
    maxQueryTokens: 8,
    truncation: 'longest_first',
    side: 'right',
    longPassages: 'truncate',
    windowOverlap: 0,
  },
} as const;

async function take<T>(items: AsyncIterable<T>, n: number): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) if (out.push(item) === n) break;
  return out;
}

describe('batches', () => {
  it('skipping k batches gives what follows the first k, without tokenizing earlier pools', async () => {
    const whole = await take(batches(source(20), textLengthTokenizer(), OPTIONS), 30);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 25 }), async (skip) => {
        const tokenizer = textLengthTokenizer();
        expect(await take(batches(source(20), tokenizer, OPTIONS, skip), 3)).toEqual(whole.slice(skip, skip + 3));
        expect(tokenizer.calls).toBeLessThanOrEqual(24);
      }),
      { numRuns: 12 },
    );
  });

  it('puts lists of like length together', async () => {
    const formed = await take(batches(source(120), textLengthTokenizer(), { ...OPTIONS, bucketBatches: 20 }), 20);
    const padding = (all: typeof formed) => {
      const real = all.flatMap((b) => b.rows).reduce((sum, r) => sum + r.ids.length, 0);
      const padded = all.reduce((sum, b) => sum + b.rows.length * Math.max(...b.rows.map((r) => r.ids.length)), 0);
      return 1 - real / padded;
    };
    const plain = await take(batches(source(120), textLengthTokenizer(), { ...OPTIONS, bucketBatches: 1 }), 20);
    expect(padding(formed)).toBeLessThan(padding(plain));
  });

  it('refuses data without a usable list', async () => {
    await expect(take(batches(source(0), textLengthTokenizer(), OPTIONS), 1)).rejects.toThrow(
      /expected at least one list/,
    );
  });
});

describe('formBatch', () => {
  it('pads shorter lists', () => {
    const lists = [
      {
        list: { qid: 'a', query: '', passages: ['1', '2'], relevance: [1, 0], teacher: [5, 4] },
        rows: [row(1), row(2)],
      },
      {
        list: { qid: 'b', query: '', passages: ['1', '2', '3'], relevance: [0, 2, 0] },
        rows: [row(3), row(4), row(5)],
      },
    ];
    const batch = formBatch(lists);
    expect(batch).toMatchObject({ queries: 2, passages: 3 });
    expect([...batch.places]).toEqual([0, 1, 3, 4, 5]);
    expect([...batch.valid]).toEqual([1, 1, 0, 1, 1, 1]);
    expect([...batch.relevance]).toEqual([1, 0, 0, 0, 2, 0]);
    expect([...batch.teacher]).toEqual([5, 4, 0, 0, 0, 0]);
  });
});
