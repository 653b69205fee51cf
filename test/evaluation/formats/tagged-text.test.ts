import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../../src/errors.ts';
import { taggedPieces } from '../../../src/evaluation/formats/tagged-text.ts';
import { parseTaggedTopics } from '../../../src/evaluation/formats/tagged-topics.ts';
import { parseDocument } from '../../../src/evaluation/formats/trec-documents.ts';

const piece = fc.constantFrom(
  ...[
    '<',
    '>',
    '</',
    '/>',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<?',
    '?>',
    '<!DOCTYPE x',
    '&',
    ';',
    '&amp;',
    '&#65;',
    '&#xFFFFFF;',
  ],
  ...[
    '<top>',
    '</top>',
    '<topic id="1">',
    '</topic>',
    '<num>',
    '<title>',
    '</title>',
    '<query a=b>',
    '<DOC>',
    '</DOC>',
  ],
  ...['<DOCNO>', '</DOCNO>', '<TEXT>', '"', "'", '=', ' ', '\n', 'a', 'é'],
);
const markup = fc.array(piece, { maxLength: 40 }).map((parts) => parts.join(''));

/** Runs `read`; a failure is one that names the file, never a fault of the reader. */
function namesFaults(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof WinnowError)) throw error;
    expect(error.message).toMatch(/^f(:\d+)?: expected /);
  }
}

describe('text with tags', () => {
  it('SGML is never refused, and text without tags stays as it is', () => {
    fc.assert(
      fc.property(markup, (text) => {
        // Definitions are refused in any form.
        fc.pre(!text.includes('['));
        expect(() => [...taggedPieces(text, { path: 'f', strict: false })]).not.toThrow();
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!/[<&]/.test(text));
        const pieces = [...taggedPieces(text, { path: 'f', strict: false })];
        expect(pieces.map((p) => p.text).join('')).toBe(text);
      }),
    );
  });

  it('damaged topics and documents are refused with the file', () => {
    fc.assert(
      fc.property(markup, (text) => {
        for (const field of ['title', 'description'] as const) namesFaults(() => parseTaggedTopics(text, 'f', field));
        namesFaults(() => parseDocument(Buffer.from(text), 'f'));
      }),
      { numRuns: 300 },
    );
  });

  it('what is escaped comes back', () => {
    const escaped = (text: string): string => text.replace(/[<>&"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
        const query = text.replace(/\s+/g, ' ').trim();
        fc.pre(query !== '' && !/^(number|topic|description|narrative)\s*:/i.test(query));
        const topics = `<t><topic id="${escaped('a"b')}"><query>${escaped(text)}</query></topic></t>`;
        expect(parseTaggedTopics(topics, 'f', 'title')).toEqual(new Map([['a"b', query]]));
      }),
    );
  });

  it('takes time in proportion to the text, also where nothing is closed', () => {
    for (const part of ['<!--', '<a ', '<a b="', '&', '<![CDATA[', '<?', '<top><num>1<title>']) {
      const count = (repeats: number): number =>
        [...taggedPieces(part.repeat(repeats), { path: 'f', strict: false })].length;
      expect(count(50_000)).toBeLessThanOrEqual(4 * 50_000);
    }
  });
});
