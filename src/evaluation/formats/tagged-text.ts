import { badLine } from '../../util/text.ts';

/** A piece of tagged text: a tag, or the text between two. */
export interface TaggedPiece {
  readonly kind: 'open' | 'close' | 'text';
  /** Name of a tag in lower case; empty for text. */
  readonly name: string;
  /** Attributes by name in lower case, entities replaced. */
  readonly attributes: ReadonlyMap<string, string>;
  /** The text, entities replaced. */
  readonly text: string;
  /** `<name/>`: no closing tag follows. */
  readonly empty: boolean;
  /** Where the piece begins in the text. */
  readonly at: number;
}

interface TaggedOptions {
  readonly path: string;
  /** Refuses what XML does not allow (a bare `<` or `&`, unknown entities). Otherwise it stays as text, as SGML collections have it. */
  readonly strict: boolean;
  /** Lines before the text, for messages. */
  readonly linesBefore?: number;
}

const NAME = /<(\/?)([A-Za-z][\w.:-]*)/y;
const ATTRIBUTE = /\s+([\w.:-]+)(?:\s*=\s*(?:"([^"<]*)"|'([^'<]*)'|([^\s"'<>=]+)))?/y;
const TAG_END = /\s*(\/?)>/y;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([A-Za-z]\w{0,15}));|&/g;

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
/** Entities of NIST's disks that stand for a character of plain text. */
const SGML_ENTITIES: Readonly<Record<string, string>> = { ...ENTITIES, hyph: '-', blank: ' ', nbsp: ' ' };

const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map();

/** Counts lines up to `at`, from 1. */
export const lineAt = (text: string, at: number): number => {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++;
  return line;
};

/** Splits tagged text (XML, or SGML as in TREC's collections) into pieces, in one pass and without recursion. Document types are not read. */
class Tagged {
  readonly #text: string;
  readonly #options: TaggedOptions;
  readonly #missing = new Set<string>();

  constructor(text: string, options: TaggedOptions) {
    this.#text = text;
    this.#options = options;
  }

  *pieces(): Generator<TaggedPiece> {
    const text = this.#text;
    let at = 0;
    let from = 0;
    while (at < text.length) {
      const start = text.indexOf('<', at);
      if (start < 0) break;
      const piece = text[start + 1] === '!' || text[start + 1] === '?' ? this.#declaration(start) : this.#tag(start);
      if (piece === undefined) {
        at = start + 1;
        continue;
      }
      if (start > from) yield this.#between(from, start);
      if (piece.tag) yield piece.tag;
      at = piece.end;
      from = piece.end;
    }
    if (from < text.length) yield this.#between(from, text.length);
  }

  #fail(at: number, expected: string, got: string): never {
    throw badLine(this.#options.path, (this.#options.linesBefore ?? 0) + lineAt(this.#text, at), expected, got);
  }

  #between(from: number, to: number): TaggedPiece {
    return this.#textPiece(this.#decode(this.#text.slice(from, to), from), from);
  }

  #textPiece(text: string, at: number): TaggedPiece {
    return { kind: 'text', name: '', attributes: NO_ATTRIBUTES, text, empty: false, at };
  }

  #decode(raw: string, at: number): string {
    if (!raw.includes('&')) return raw;
    const { strict } = this.#options;
    const known = strict ? ENTITIES : SGML_ENTITIES;
    return raw.replace(ENTITY, (whole, decimal?: string, hex?: string, name?: string, offset = 0) => {
      const code = decimal !== undefined ? Number(decimal) : hex !== undefined ? Number.parseInt(hex, 16) : undefined;
      if (code !== undefined && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff))
        return String.fromCodePoint(code);
      if (name !== undefined && Object.hasOwn(known, name)) return known[name]!;
      if (!strict) return whole;
      return this.#fail(at + offset, '&amp; for "&", or an entity that XML itself defines', `"${whole}"`);
    });
  }

  /** Reads a comment, CDATA section, processing instruction or document type. */
  #declaration(start: number): { readonly end: number; readonly tag?: TaggedPiece } | undefined {
    const text = this.#text;
    if (text.startsWith('<!--', start)) return this.#until(start, 4, '-->');
    if (text[start + 1] === '?') return this.#until(start, 2, '?>');
    if (text.startsWith('<![CDATA[', start)) {
      const found = this.#until(start, 9, ']]>');
      return found && { ...found, tag: this.#textPiece(text.slice(start + 9, found.end - 3), start) };
    }
    if (!/^<!doctype$/i.test(text.slice(start, start + 9))) {
      if (this.#options.strict) this.#fail(start, 'a tag', `"${text.slice(start, start + 12)}"`);
      return undefined;
    }
    const found = this.#until(start, 9, '>');
    if (found && text.slice(start, found.end).includes('['))
      this.#fail(start, 'no definitions in the document type, which are not read', 'some');
    return found;
  }

  /** Finds the end of a declaration. Pages of TREC's Web collections have some that never end; they stay as text. */
  #until(start: number, skip: number, mark: string): { readonly end: number } | undefined {
    if (this.#missing.has(mark)) return undefined;
    const end = this.#text.indexOf(mark, start + skip);
    if (end >= 0) return { end: end + mark.length };
    if (this.#options.strict) this.#fail(start, `"${mark}" before the end of the file`, 'none');
    this.#missing.add(mark);
    return undefined;
  }

  #tag(start: number): { readonly end: number; readonly tag: TaggedPiece } | undefined {
    const text = this.#text;
    NAME.lastIndex = start;
    const head = NAME.exec(text);
    if (head === null) return this.#notATag(start);
    const attributes = new Map<string, string>();
    let at = NAME.lastIndex;
    for (;;) {
      ATTRIBUTE.lastIndex = at;
      const match = ATTRIBUTE.exec(text);
      if (match === null) break;
      const [, name = '', double, single, bare] = match;
      attributes.set(name.toLowerCase(), this.#decode(double ?? single ?? bare ?? '', at));
      at = ATTRIBUTE.lastIndex;
    }
    TAG_END.lastIndex = at;
    const tail = TAG_END.exec(text);
    if (tail === null) return this.#notATag(start);
    const kind = head[1] === '/' ? 'close' : 'open';
    const tag = {
      kind,
      name: head[2]!.toLowerCase(),
      attributes,
      text: '',
      empty: tail[1] === '/',
      at: start,
    } as const;
    return { end: TAG_END.lastIndex, tag };
  }

  #notATag(start: number): undefined {
    if (!this.#options.strict) return undefined;
    const got = this.#text.slice(start, start + 20).replace(/\s+/g, ' ');
    return this.#fail(start, 'a tag, or &lt; for "<"', `"${got}"`);
  }
}

/**
 * Yields the tags of a text and what stands between them: XML (`strict`), or SGML as TREC's topics and documents have it, where tags may
 * stay open. Entities other than those of XML and numbers are not resolved; definitions in a document type are refused, not expanded.
 *
 * @throws WinnowError `invalid_input` with file and line.
 */
export const taggedPieces = (text: string, options: TaggedOptions): Generator<TaggedPiece> =>
  new Tagged(text, options).pieces();
