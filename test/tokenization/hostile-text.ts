import fc from 'fast-check';

/** Characters that have tripped tokenizers up: marks, ideographs of all planes, surrogates, controls, odd blanks, case specials. */
const TRICKY = [
  ...['\0', '\x01', '\x0b', '\x0c', '\x1f', '\x7f', '\x85', '\x9f', '\t', '\n', '\r', ' '],
  ...[
    '\u00a0',
    '\u00ad',
    '\u1680',
    '\u180e',
    '\u2003',
    '\u200b',
    '\u200d',
    '\u2028',
    '\u202e',
    '\u3000',
    '\ufeff',
    '\ufffd',
  ],
  ...['\u0301', '\u0308', '\u0327', '\u05bf', '\u093f', '\u0e33', '\u20dd', '\u302e', '\u3099', '\ufe0f', '\u{1d165}'],
  ...['Σ', 'ς', 'İ', 'ß', 'ẞ', 'ﬁ', 'Å', 'é', 'ᾳ', 'Ǆ', 'Ꙋ', '가', '\u1100', '\u1161', '\u0600', '\ue000', '\u0378'],
  ...[
    '中',
    '㐀',
    '豈',
    '\ufa6c',
    '𠀀',
    '𠮷',
    '\u{2f804}',
    'か',
    'ｶ',
    'ﾞ',
    '〜',
    '～',
    '。',
    '「',
    '’',
    '–',
    '…',
    '¿',
    '𐄀',
    '٠',
  ],
  ...['👩‍👩‍👧', '🦙', '🇨🇭', '👍🏽', '\ud800', '\udc00', '\udbff'],
  ...[
    '[SEP]',
    '[MASK]',
    '[UNK]',
    '[unused1]',
    '<s>',
    '</s>',
    '<mask>',
    '<0x41>',
    '▁',
    '##',
    '##ing',
    'Ġ',
    '|||IP_ADDRESS|||',
  ],
  ...["'s", "can't", 'HELLO', 'naïve', 'x'.repeat(99), 'y'.repeat(101), '𠮷'.repeat(100), '\u{1f999}'.repeat(101)],
];

/** Texts of tricky characters, any code points and plain words, short and long. */
export const hostileText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...TRICKY) },
      {
        weight: 3,
        arbitrary: fc.constantFrom('the', 'Running', 'tokenization', ' ', '  ', ', ', '-', 'a', '1', '2024'),
      },
      { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 4 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) },
    ),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(''));
