import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { CharsMap } from '../../src/tokenization/charsmap.ts';
import { IdBuffer } from '../../src/tokenization/id-buffer.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { normalizerFor } from '../../src/tokenization/normalizers.ts';
import { preTokenizerFor } from '../../src/tokenization/pre-tokenizers.ts';
import { readDefinition } from '../../src/tokenization/tokenizer-definition.ts';
import { readTokenizerFolder } from '../../src/tokenization/tokenizer-folder.ts';
import { UnigramModelEncoder } from '../../src/tokenization/unigram.ts';
import { corpusNames, corpusTexts, goldTexts, hasShared, libraryEncoder, sampled, TOKENIZERS } from './corpora.ts';
import { hostileText } from './hostile-text.ts';
import { LibraryEncoder } from './library-encoder.ts';

type Vocab = readonly (readonly [string, number])[];

function segment(vocab: Vocab, text: string, byteFallback = false): number[] {
  const model = { type: 'Unigram', vocab, unkId: 0, byteFallback } as const;
  const ids = new IdBuffer();
  new UnigramModelEncoder(model).encode(text, ids);
  return [...ids.take()];
}

/** The best segmentation by trying all of them. */
function bestSum(vocab: Vocab, text: string): number {
  if (text === '') return 0;
  const sums = vocab
    .slice(1)
    .flatMap(([piece, score]) => (text.startsWith(piece) ? [score + bestSum(vocab, text.slice(piece.length))] : []));
  return Math.max(Number.NEGATIVE_INFINITY, ...sums);
}

describe('the unigram model', () => {
  const vocab: Vocab = [
    ['<unk>', 0],
    ['a', -1],
    ['b', -2],
    ['ab', -2.5],
    ['abc', -9],
    ['c', -3],
    ['🦙', -4],
  ];

  it('takes the cut of highest probability, not the longest piece', () => {
    expect(segment(vocab, 'abc')).toEqual([3, 5]);
    expect(segment(vocab, '🦙a')).toEqual([6, 1]);
  });

  it('joins neighboring unknown characters to one unknown token', () => {
    expect(segment(vocab, 'axyb')).toEqual([1, 0, 2]);
    expect(segment(vocab, '🦒🦒')).toEqual([0]);
  });

  it('gives ties to the piece that starts first', () => {
    // a+bb and ab+b are equally likely.
    const even: Vocab = [
      ['<unk>', 0],
      ['a', -1],
      ['b', -1],
      ['ab', -1],
      ['bb', -1],
    ];
    expect(segment(even, 'abb')).toEqual([1, 4]);
  });

  it('falls back to bytes where the model has them', () => {
    const withBytes: Vocab = [...vocab, ['<0xC3>', -20], ['<0xA9>', -20]];
    expect(segment(withBytes, 'aé', true)).toEqual([1, 7, 8]);
    expect(segment(withBytes, 'aü', true)).toEqual([1, 0]);
    expect(segment(withBytes, 'aé', false)).toEqual([1, 0]);
  });

  it('reaches the best sum of all segmentations', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(text, (t) => {
        const sum = segment(vocab, t).reduce((s, id) => s + vocab[id]![1], 0);
        expect(sum).toBeCloseTo(bestSum(vocab, t), 9);
      }),
    );
  });
});

describe('pre-tokenizers', () => {
  const metaspace = { type: 'Metaspace', replacement: '▁' };
  it.each([
    [{ ...metaspace, prepend_scheme: 'always' }, 'a  b', true, ['▁a', '▁', '▁b']],
    [{ ...metaspace, add_prefix_space: false }, 'a b', true, ['a', '▁b']],
    [{ ...metaspace, prepend_scheme: 'first' }, 'a', false, ['a']],
    [{ ...metaspace, split: false }, 'a b', true, ['▁a▁b']],
    [{ type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] }, ' a  b ', true, ['▁a', '▁b']],
  ])('%j', (part, text, isFirst, pieces) => {
    expect(preTokenizerFor(part, 'f')(text, isFirst)).toEqual(pieces);
  });

  it('split at any ASCII character as it is', () => {
    for (let unit = 0; unit < 128; unit++) {
      const delimiter = String.fromCharCode(unit);
      const pieces = preTokenizerFor({ type: 'CharDelimiterSplit', delimiter }, 'f')(`é${delimiter}ü`, true);
      expect(pieces).toEqual(['é', 'ü']);
    }
  });

  it('refuses one it does not know, and names those it knows', () => {
    expect(() => preTokenizerFor({ type: 'Nonsense' }, 'f')).toThrow(
      /f: expected Sequence, BertPreTokenizer, .*Metaspace, got "Nonsense" \(string\) \(pre_tokenizer\.type\)/,
    );
  });
});

describe('normalizers', () => {
  it.each([
    [{ type: 'Strip', strip_left: true, strip_right: true }, ' a ', 'a'],
    [{ type: 'Lowercase' }, 'AB', 'ab'],
    [{ type: 'StripAccents' }, 'e\u0301', 'e'],
    [{ type: 'Prepend', prepend: '_' }, 'a', '_a'],
    [{ type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' }, 'a   b', 'a b'],
    [{ type: 'NFKC' }, 'ﬁ', 'fi'],
    [{ type: 'Precompiled', precompiled_charsmap: null }, 'ﬁ', 'ﬁ'],
    [{ type: 'Sequence', normalizers: [{ type: 'NFD' }, { type: 'StripAccents' }] }, 'é', 'e'],
  ])('%j', (part, text, result) => {
    expect(normalizerFor(part, 'f')(text)).toBe(result);
  });

  it('refuses unknown ones and maps that are none', () => {
    expect(() => normalizerFor({ type: 'Nonsense' }, 'f')).toThrow(/normalizer.type/);
    expect(() => normalizerFor({ type: 'Precompiled', precompiled_charsmap: '/////w==' }, 'f')).toThrow(
      /f: expected a compiled character map/,
    );
  });
});

describe.skipIf(!hasShared)('DeBERTa-v3 from spm.model alone (needs ../shared)', () => {
  const folder = join(TOKENIZERS, 'deberta-v3');
  let own: (text: string) => Int32Array;
  let charsmap: string;
  beforeAll(async () => {
    own = (await loadTokenizer(folder)).encodeText;
    const { definition } = await readTokenizerFolder(folder);
    const steps = definition.normalizer?.normalizers as { type: string; precompiled_charsmap?: string }[];
    charsmap = steps.find((step) => step.type === 'Precompiled')!.precompiled_charsmap!;
  });

  it('gives all 37 texts the ids of the original tokenizer, byte fallback included', () => {
    const gold = goldTexts('microsoft--deberta-v3-small');
    expect(gold).toHaveLength(37);
    for (const { input, ids } of gold) expect([...own(input)]).toEqual(ids.slice(1, -1));
  });

  it('agrees with the library wherever the library has the right normalizer', async () => {
    const library = await libraryEncoder(folder);
    const texts = corpusNames().flatMap((corpus) => sampled(corpusTexts(corpus), 30));
    const plain = texts.filter((text) => /^[\n -~]*$/.test(text));
    expect(plain.length).toBeGreaterThan(100);
    expect(plain.filter((text) => String(own(text)) !== String(library.encode(text)))).toEqual([]);
  });

  it('reads the same from a tokenizer.json of the same pieces and map', async () => {
    const { definition } = await readTokenizerFolder(folder);
    const { unmatched: _unmatched, ...raw } = definition.raw;
    const json = readDefinition(JSON.parse(JSON.stringify(raw)), 'tokenizer.json');
    expect(json.model).toMatchObject({ unkId: 3, byteFallback: true });
    const library = new LibraryEncoder(json, {});
    expect([...own('Hello, world')]).toEqual([...library.encode('Hello, world')]);
  });

  it('the map replaces graphemes as Hugging Face does', () => {
    const map = new CharsMap(Buffer.from(charsmap, 'base64'), 'f', 'charsmap');
    expect(map.apply('plain ASCII ~')).toBe('plain ASCII ~');
    expect(map.apply('ﬁ ① Ⅷ ½')).toBe('fi 1 VIII 1⁄2');
    expect(map.apply('e\u0301')).toBe('é');
    expect(map.apply('a\u00a0b\u3000c\td')).toBe('a b c d');
    expect(map.apply('x\u200by\u0007z')).toBe('x yz');
    expect(map.apply('ｶﾞ')).toBe('カ\u3099');
    // The shortest mapped prefix stands for the whole grapheme: the mark behind the subscript is lost.
    expect(map.apply('ᵢ\u0306')).toBe('i');
  });

  it('finds the same graphemes with and without the quick way', () => {
    const map = new CharsMap(Buffer.from(charsmap, 'base64'), 'f', 'charsmap');
    fc.assert(
      fc.property(hostileText, (text) => {
        const wellFormed = text.toWellFormed();
        const graphemes = [...new Intl.Segmenter('en').segment(wellFormed)].map(({ segment: s }) => map.apply(s));
        expect(map.apply(wellFormed)).toBe(graphemes.join(''));
      }),
      { numRuns: 500 },
    );
  });

  it('never fails on hostile text, however long', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        for (const id of own(text)) expect(id).toBeLessThanOrEqual(128_000);
      }),
      { numRuns: 300 },
    );
    expect(own('é x'.repeat(100_000)).length).toBeGreaterThan(100_000);
    expect(own('\ue000'.repeat(100_000)).length).toBeGreaterThan(100_000);
  });
});
