import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { byteLevelBpeEncoder } from '../../src/tokenization/bpe.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { MinHeap } from '../../src/tokenization/min-heap.ts';
import type { SectionEncoder } from '../../src/tokenization/section-encoder.ts';
import { type Definition, readDefinition } from '../../src/tokenization/tokenizer-definition.ts';
import { readTokenizerFolder } from '../../src/tokenization/tokenizer-folder.ts';
import {
  corpusNames,
  corpusTexts,
  goldTexts,
  hasShared,
  libraryEncoder,
  sampled,
  stepEncoder,
  TOKENIZERS,
} from './corpora.ts';
import { hostileText } from './hostile-text.ts';
import { LibraryEncoder } from './library-encoder.ts';

/** Recorded in the tests of ModernBert.jl; special tokens left off. */
const MODERNBERT: readonly (readonly [string, readonly number[]])[] = [
  ['The capital of France is [MASK].', [510, 5347, 273, 6181, 310, 50284, 15]],
  ['Hello world! This is a test.', [12092, 1533, 2, 831, 310, 247, 1071, 15]],
  ['   ', [50275]],
  ['', []],
  ['unbelievable', [328, 21002, 17254]],
  [
    "Mr. O'Neill-McPherson's co-workers @ ABC.com [and] {Dr. J.R.R. Martin-Smith} use     multiple     spaces!",
    [
      7710, 15, 473, 8, 41437, 14, 11773, 49, 379, 1665, 434, 820, 14, 26719, 1214, 15599, 15, 681, 544, 395, 62, 551,
      9034, 15, 500, 15, 51, 15, 51, 15, 8698, 14, 21484, 94, 897, 50273, 34263, 50273, 31748, 2,
    ],
  ],
  [
    'The pH of H₂O is ~7.0, while Na⁺ + Cl⁻ → NaCl requires sub/superscript handling.',
    [
      510, 8487, 273, 388, 46979, 213, 48, 310, 5062, 24, 15, 17, 13, 1223, 6897, 25086, 120, 559, 1639, 25086, 121,
      19167, 22748, 4419, 749, 16, 8403, 398, 1687, 10885, 15,
    ],
  ],
  [
    '你好,世界!Hello,世界!こんにちは,世界! mixing UTF-8 characters with ASCII is challenging.',
    [
      24553, 34439, 13, 42848, 45261, 2, 12092, 13, 42848, 45261, 2, 10446, 13639, 5444, 23826, 6418, 13, 42848, 45261,
      2, 12480, 34773, 14, 25, 5810, 342, 48668, 310, 11132, 15,
    ],
  ],
];

/** Bytes as tokens 0–255 plus a few merges. */
function small(merges: readonly (string | readonly [string, string])[]): Definition {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let moved = 0;
  const tokens = Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : 256 + moved++));
  const joined = merges.map((merge) => (typeof merge === 'string' ? merge.replace(' ', '') : merge.join('')));
  const vocab = Object.fromEntries([...tokens, ...joined].map((token, id) => [token, id]));
  return readDefinition(
    { model: { type: 'BPE', vocab, merges }, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false } },
    'tokenizer.json',
  );
}

const bytes = (text: string) => [...new TextEncoder().encode(text)];
const encode = (text: string, merges: Parameters<typeof small>[0]) => [
  ...byteLevelBpeEncoder(small(merges))!.encode(text),
];

describe('byte-pair encoding by hand', () => {
  it('joins the pair of lowest rank first, the leftmost of several', () => {
    expect(encode('abc', ['b c', 'a b'])).toEqual([97, 256]);
    expect(encode('abc', ['a b', 'b c'])).toEqual([256, 99]);
    expect(encode('aaa', ['a a'])).toEqual([256, 97]);
    expect(encode('abab', ['a b', 'ab ab'])).toEqual([257]);
  });

  it('reads merges written as pairs, and never joins across words', () => {
    expect(
      encode('a b', [
        ['a', 'Ġ'],
        ['Ġ', 'b'],
      ]),
    ).toEqual([97, 257]);
  });

  it('writes every byte of characters without merges', () => {
    expect(encode('é🦙\u0000', [])).toEqual(bytes('é🦙\u0000'));
    expect(encode('\ud800', [])).toEqual(bytes('\ufffd'));
  });

  it('is refused where a merge is no token, and left to the encoder for any BPE where a byte is missing', () => {
    const { raw } = small(['a b']);
    const without = (token: string) => {
      const broken = structuredClone(raw) as { model: { vocab: Record<string, number> } };
      delete broken.model.vocab[token];
      return readDefinition(broken, 'f');
    };
    expect(() => byteLevelBpeEncoder(without('ab'))).toThrow(/f: expected two tokens that join.*model\.merges\[0\]/);
    expect(byteLevelBpeEncoder(without('z'))).toBeUndefined();
    expect([...stepEncoder(without('z')).encode('azb')]).toEqual([256]);
    expect(byteLevelBpeEncoder(readDefinition({ ...raw, pre_tokenizer: { type: 'Whitespace' } }, 'f'))).toBeUndefined();
  });

  it('joins random merges as the library does', () => {
    const letter = fc.constantFrom('a', 'b', 'ab', 'ba', 'aa', 'aab');
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(letter, letter), { selector: (m) => m.join(' '), maxLength: 8 }),
        fc.string({ unit: fc.constantFrom('a', 'b', ' '), maxLength: 40 }),
        (merges, text) => {
          const known = merges.map(([l, r]) => [l, r] as const);
          const definition = small([['a', 'b'], ['b', 'a'], ['a', 'a'], ['a', 'ab'], ...known]);
          const own = byteLevelBpeEncoder(definition);
          if (own) expect([...own.encode(text)]).toEqual([...new LibraryEncoder(definition, {}).encode(text)]);
        },
      ),
      { numRuns: 300 },
    );
  });
});

it('a heap gives numbers back in order', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 300 }), (numbers) => {
      const heap = new MinHeap();
      for (const n of numbers) heap.push(n);
      expect([...numbers.map(() => heap.pop()), heap.pop()]).toEqual([...numbers.sort((a, b) => a - b), -1]);
    }),
  );
});

describe.skipIf(!hasShared).each(['roberta', 'modernbert'])('%s against the library (needs ../shared)', (name) => {
  const folder = join(TOKENIZERS, name);
  let own: (text: string) => Int32Array;
  let library: LibraryEncoder;
  let steps: SectionEncoder;
  beforeAll(async () => {
    const { definition } = await readTokenizerFolder(folder);
    expect(byteLevelBpeEncoder(definition)).toBeDefined();
    steps = stepEncoder(definition);
    own = (await loadTokenizer(folder)).encodeText;
    library = await libraryEncoder(folder);
  });

  it('gives 500 hostile texts the ids of the steps one by one', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        expect([...own(text)]).toEqual([...steps.encode(text)]);
      }),
      { numRuns: 500 },
    );
  });

  it('gives the same ids on samples of every corpus', () => {
    const texts = corpusNames().flatMap((corpus) => sampled(corpusTexts(corpus), 25));
    expect(texts.filter((text) => String(own(text)) !== String(library.encode(text)))).toEqual([]);
  });

  it('takes a word of a million letters in its stride', () => {
    expect(own('ab'.repeat(500_000)).length).toBeGreaterThan(100_000);
  });
});

describe.skipIf(!hasShared)('recorded ids (needs ../shared)', () => {
  it('RoBERTa gives all 37 texts the ids of the original tokenizer, from vocab.json and merges.txt alone', async () => {
    const { encodeText } = await loadTokenizer(join(TOKENIZERS, 'roberta'));
    const gold = goldTexts('roberta-base');
    expect(gold).toHaveLength(37);
    for (const { input, ids } of gold) expect([...encodeText(input)]).toEqual(ids.slice(1, -1));
  });

  it('ModernBERT gives the sequences recorded with its vocabulary', async () => {
    const { encodeText } = await loadTokenizer(join(TOKENIZERS, 'modernbert'));
    for (const [input, ids] of MODERNBERT) expect([...encodeText(input)]).toEqual(ids);
  });
});
