import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import type { SectionEncoder } from '../../src/tokenization/section-encoder.ts';
import { readDefinition } from '../../src/tokenization/tokenizer-definition.ts';
import { readTokenizerFolder } from '../../src/tokenization/tokenizer-folder.ts';
import { WordPieceEncoder, wordPieceEncoder } from '../../src/tokenization/wordpiece.ts';
import {
  corpusNames,
  corpusTexts,
  goldTexts,
  hasShared,
  libraryEncoder,
  SHIPPED,
  sampled,
  stepEncoder,
  TOKENIZERS,
} from './corpora.ts';
import { hostileText } from './hostile-text.ts';
import { LibraryEncoder } from './library-encoder.ts';

/** A definition small enough to tell by hand what a text becomes. */
function small(normalizer: object = {}, added: object[] = []) {
  const tokens = [
    '[PAD]',
    '[UNK]',
    '[CLS]',
    '[SEP]',
    'a',
    '##b',
    '##bc',
    'cafe',
    'café',
    ',',
    '中',
    'x',
    '##x',
    'Ab',
    'ab',
  ];
  return readDefinition(
    {
      model: {
        type: 'WordPiece',
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        unk_token: '[UNK]',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 5,
      },
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: true,
        lowercase: true,
        ...normalizer,
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      added_tokens: [{ id: 3, content: '[SEP]', special: true, normalized: false }, ...added],
    },
    'tokenizer.json',
  );
}

const encode = (text: string, ...args: Parameters<typeof small>) => [...wordPieceEncoder(small(...args))!.encode(text)];

describe('WordPiece by hand', () => {
  it('takes the longest piece from the left, or the unknown token for the whole word', () => {
    expect(encode('ab abc a b abb')).toEqual([14, 1, 4, 1, 14, 5]);
    expect(encode('abbc')).toEqual([14, 6]);
  });

  it('lowers, strips accents, drops controls inside words, spaces ideographs, splits punctuation', () => {
    expect(encode('AB,CAFÉ\u00adx')).toEqual([14, 9, 7, 12]);
    expect(encode('a\u0000b 中中x')).toEqual([14, 10, 10, 11]);
    expect(encode('Café, cafe\u0301')).toEqual([7, 9, 7]);
  });

  it('keeps accents and case where the file says so', () => {
    expect(encode('Ab café', { lowercase: false })).toEqual([13, 8]);
    expect(encode('Ab café', { lowercase: false, strip_accents: true })).toEqual([13, 7]);
    expect(encode('CAFÉ', { strip_accents: false })).toEqual([8]);
  });

  it('counts the length of a word in code points', () => {
    expect(encode('axxxx')).toEqual([4, 12, 12, 12, 12]);
    expect(encode('axxxxx')).toEqual([1]);
    expect(encode('\u{1f999}')).toEqual([1]);
  });

  it('finds added tokens in raw text only', () => {
    expect(encode('a[SEP]a [sep]')).toEqual([4, 3, 4, 1, 1, 1]);
  });

  it('leaves definitions it does not cover to the encoder for any', () => {
    expect(wordPieceEncoder(small({}, [{ id: 20, content: 'new', special: false }]))).toBeUndefined();
    expect(wordPieceEncoder(small({ type: 'Lowercase' }))).toBeUndefined();
  });
});

describe('WordPiece against the library', () => {
  const flags = fc.record({
    clean_text: fc.boolean(),
    handle_chinese_chars: fc.boolean(),
    lowercase: fc.boolean(),
    strip_accents: fc.constantFrom(null, true, false),
  });

  const added = [{ id: 30, content: ' x', special: true, lstrip: true, rstrip: true }];

  it('gives the same ids for ASCII text under any normalizer options', () => {
    const ascii = hostileText.map((text) => text.replaceAll(/[^\0-\x7f]/g, ''));
    fc.assert(
      fc.property(flags, ascii, (options, text) => {
        const definition = small(options, added);
        const own = wordPieceEncoder(definition)!.encode(text);
        expect([...own]).toEqual([...new LibraryEncoder(definition, {}).encode(text)]);
      }),
      { numRuns: 600 },
    );
  });

  it('gives the ids of normalizer, pre-tokenizer and model one by one for any text', () => {
    fc.assert(
      fc.property(flags, hostileText, (options, text) => {
        const definition = small(options, added);
        expect([...wordPieceEncoder(definition)!.encode(text)]).toEqual([...stepEncoder(definition).encode(text)]);
      }),
      { numRuns: 600 },
    );
  });

  describe.skipIf(!hasShared)('with the vocabulary of bert-base-uncased (needs ../shared)', () => {
    const folder = join(TOKENIZERS, 'bert-uncased');
    let own: (text: string) => Int32Array;
    let library: LibraryEncoder;
    let steps: SectionEncoder;
    beforeAll(async () => {
      own = (await loadTokenizer(folder)).encodeText;
      steps = stepEncoder((await readTokenizerFolder(folder)).definition);
      library = await libraryEncoder(folder);
    });

    it('gives the same ids for 2,000 hostile texts', () => {
      fc.assert(
        fc.property(hostileText, (text) => {
          expect([...own(text)]).toEqual([...steps.encode(text)]);
        }),
        { numRuns: 2000 },
      );
    });

    it.each(hasShared ? corpusNames() : [])('gives the same ids on a sample of %s', (name) => {
      const texts = sampled(corpusTexts(name), 200);
      expect(texts.length).toBeGreaterThan(50);
      expect(texts.filter((text) => String(own(text)) !== String(library.encode(text)))).toEqual([]);
    });

    it('gives the ids of the original tokenizer, but for one text where the Rust library differs too', () => {
      const gold = goldTexts('bert-base-uncased');
      const different = gold.filter(({ input, ids }) => String([...own(input)]) !== String(ids.slice(1, -1)));
      // U+A64A before an emoji: one unknown word here and in the Rust library, two tokens in the recorded ids.
      expect(different.map(({ input }) => input.includes('100,000\ua64a\u{1f999}'))).toEqual([true]);
      expect([...own('100,000\ua64a\u{1f999}')]).toEqual([2531, 1010, 100]);
      expect(gold).toHaveLength(37);
    });
  });
});

describe('the shipped model', () => {
  it('takes the quick path', async () => {
    const { definition } = await readTokenizerFolder(SHIPPED);
    expect(wordPieceEncoder(definition)).toBeInstanceOf(WordPieceEncoder);
  });
});
