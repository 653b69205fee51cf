import { isUtf8 } from 'node:buffer';
import { readBytes } from '../../util/bytes.ts';
import { badLine } from '../../util/text.ts';
import type { Passage } from './passage-store.ts';
import { lineAt, type TaggedPiece, taggedPieces } from './tagged-text.ts';

/*
 * Collections in TREC's SGML: `<DOC> <DOCNO> id </DOCNO> … <TEXT> … </TEXT> </DOC>`, one document after the other (Robust04's disks, AP, WSJ,
 * AQUAINT, GOV2).
 */

/** Tags whose content is the text of a document that has <TEXT>: also headlines and leads. */
const TEXTS: ReadonlySet<string> = new Set(['text', 'headline', 'head', 'hl', 'title', 'ttl', 'ti', 'lp', 'leadpara']);
/** Tags whose content is left out of documents without <TEXT>. */
const FACTS: ReadonlySet<string> = new Set(
  'docno docid docoldno dochdr docref doctype fileid date datetime date_time section length byline script style'.split(
    ' ',
  ),
);

/** Most bytes of one document. */
const DOCUMENT_MIB = 64;
const NEWLINE = 10;
const CLOSE = '</DOC>';

/** Finds the byte after the next `</DOC>` or `</doc>`; -1 if there is none. Searches no further: a chunk holds many documents. */
export function endOfDocument(buffer: Buffer, from = 0): number {
  for (let at = buffer.indexOf('</', from); at >= 0; at = buffer.indexOf('</', at + 2)) {
    const end = at + CLOSE.length;
    const tag = buffer.toString('latin1', at, end);
    if (tag === CLOSE || tag === CLOSE.toLowerCase()) return end;
  }
  return -1;
}

/** Bytes of one document, from the first that is no white space. */
interface DocumentBytes {
  readonly bytes: Buffer;
  readonly linesBefore: number;
  /** Where the bytes begin in the (unpacked) file. */
  readonly offset: number;
}

/** Counts line breaks. */
function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}

/** Counts the white space in front. */
function spacesIn(bytes: Buffer): number {
  let at = 0;
  while (at < bytes.length && bytes[at]! <= 32) at++;
  return at;
}

/**
 * Yields the documents of a file as bytes; memory holds one of them.
 *
 * @throws WinnowError `invalid_input` with file and line for a document without its end, or of more than 64 MiB.
 */
export async function* documentBytes(path: string): AsyncGenerator<DocumentBytes> {
  let rest: Buffer = Buffer.alloc(0);
  let [linesBefore, offset] = [0, 0];
  for await (const chunk of readBytes(path)) {
    // The mark may lie across two chunks.
    let from = Math.max(0, rest.length - CLOSE.length);
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = endOfDocument(rest, from); end >= 0; end = endOfDocument(rest, from)) {
      const start = spacesIn(rest);
      linesBefore += linesIn(rest.subarray(0, start));
      const bytes = rest.subarray(start, end);
      yield { bytes, linesBefore, offset: offset + start };
      linesBefore += linesIn(bytes);
      offset += end;
      rest = rest.subarray(end);
      from = 0;
    }
    if (rest.length > DOCUMENT_MIB * 2 ** 20)
      throw badLine(path, linesBefore + 1, `</DOC> within ${DOCUMENT_MIB} MiB`, 'more');
  }
  // After the last document: white space, or the end of an element around all of them.
  const after = rest.toString('latin1');
  const first = spacesIn(rest);
  if (first < rest.length && after.replace(/<\/(?!doc>)[^>]*>/gi, '').trim() !== '')
    throw badLine(
      path,
      linesBefore + 1 + linesIn(rest.subarray(0, first)),
      '</DOC> before the end of the file',
      'none',
    );
}

const singleSpaced = (text: string): string => text.replace(/\s+/g, ' ').trim();

/** Gathers the text inside the tags that `wanted` chooses, at any depth. */
function textInside(pieces: readonly TaggedPiece[], tags: ReadonlySet<string>): string {
  let [text, depth] = ['', 0];
  for (const { kind, name, empty, text: between } of pieces) {
    if (kind === 'text') text += depth > 0 ? between : '';
    else text += ' ';
    if (tags.has(name) && !empty) depth = Math.max(0, depth + (kind === 'open' ? 1 : -1));
  }
  return singleSpaced(text);
}

/** Gathers the text outside the tags of facts. A fact ends with its own closing tag. */
function textOutside(pieces: readonly TaggedPiece[]): string {
  let text = '';
  let fact: string | undefined;
  const closing = new Set(pieces.flatMap(({ kind, name }) => (kind === 'close' ? [name] : [])));
  for (const { kind, name, empty, text: between } of pieces) {
    if (kind === 'text') text += fact === undefined ? between : '';
    else text += ' ';
    if (fact === undefined && kind === 'open' && !empty && FACTS.has(name) && closing.has(name)) fact = name;
    else if (kind === 'close' && name === fact) fact = undefined;
  }
  return singleSpaced(text);
}

function idOf(head: TaggedPiece, pieces: readonly TaggedPiece[]): string {
  const given = head.attributes.get('id') ?? head.attributes.get('docno') ?? '';
  return textInside(pieces, new Set(['docno'])) || singleSpaced(given) || textInside(pieces, new Set(['docid']));
}

/**
 * Parses one document. Its id is `<DOCNO>` (or the attribute `id`, or `<DOCID>`), its text that of `<TEXT>` and the headline tags; a
 * document without `<TEXT>` is all of its text but ids, dates and headers. Bytes that are not UTF-8 are read as Latin-1, as the older
 * collections were written.
 *
 * @throws WinnowError `invalid_input` with file and line: text outside a document, no id, an id with a space or of another encoding.
 */
export function parseDocument(bytes: Buffer, path: string, linesBefore = 0): Passage {
  const utf8 = isUtf8(bytes);
  const text = bytes.toString(utf8 ? 'utf8' : 'latin1');
  const start = Math.max(0, text.search(/<doc[\s>]/i));
  const before = text.slice(0, start).replace(/^\ufeff|<[^>]*>/g, '');
  const line = linesBefore + lineAt(text, start);
  if (before.trim() !== '') throw badLine(path, linesBefore + 1, '<DOC>', `"${before.trim().slice(0, 40)}"`);
  const [head, ...pieces] = taggedPieces(text.slice(start), { path, strict: false, linesBefore: line - 1 });
  if (head?.name !== 'doc') throw badLine(path, line, '<DOC>', `"${text.slice(start, start + 40)}"`);
  const id = idOf(head, pieces);
  if (id === '' || /\s/.test(id))
    throw badLine(path, line, 'a document with one <DOCNO>', id === '' ? 'none' : `"${id}"`);
  if (!utf8 && !/^[!-~]+$/.test(id)) throw badLine(path, line, 'a <DOCNO> in UTF-8', 'bytes of another encoding');
  const hasText = pieces.some(({ kind, name }) => kind === 'open' && name === 'text');
  return { id, text: hasText ? textInside(pieces, TEXTS) : textOutside(pieces) };
}
