import { WinnowError } from '../../errors.ts';
import { moveSources, parseExact, setSource } from '../../util/exact-json.ts';
import { Turn } from '../turn.ts';
import { JSON_LIMITS, type JsonOutline } from './scanner.ts';

/** Bytes parsed at once: a fraction of a millisecond of `JSON.parse`, a few milliseconds if they are all keys or brackets. */
const PIECE = 32_768;

/** Fields from which on listing the names of an object takes milliseconds, and cannot be interrupted. */
const WIDE = 8192;

const wide = new WeakSet<object>();

/** Whether a parsed object has so many fields (more than 8,192) that its names must not be listed at once. */
export const isWide = (parsed: object): boolean => wide.has(parsed);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const LETTER_U = 0x75;

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const malformed = (reason: string, cause?: unknown): WinnowError =>
  new WinnowError('malformed_json', { reason }, { cause });

function parseText(text: string): unknown {
  try {
    return parseExact(text);
  } catch (error) {
    throw malformed((error as Error).message, error);
  }
}

/** One part of a container: bytes `start` to `end`; `from` and `to` bound the outline's indices inside. */
interface Part {
  readonly start: number;
  readonly end: number;
  readonly from: number;
  readonly to: number;
}

class Parser {
  readonly #bytes: Buffer;
  readonly #outline: JsonOutline;
  readonly #piece: number;
  readonly #turn = new Turn();

  constructor(bytes: Buffer, outline: JsonOutline, piece: number) {
    this.#bytes = bytes;
    this.#outline = outline;
    this.#piece = piece;
  }

  whole(start: number): Promise<unknown> {
    return this.#value({ start, end: this.#bytes.length, from: 0, to: this.#outline.count });
  }

  async #value(part: Part): Promise<unknown> {
    const trimmed = this.#trim(part);
    const { start, end } = trimmed;
    const first = this.#bytes[start];
    if (end - start <= this.#piece) return parseText(await this.#text(start, end));
    if (first === QUOTE) return this.#longString(start, end);
    if (first === OPEN_ARRAY || first === OPEN_OBJECT) return this.#container(trimmed, first);
    // A number or a literal. The scanner bounds their length, so anything longer is neither.
    if (end - start > JSON_LIMITS.gap) throw malformed(`byte ${start} begins no value`);
    return parseText(await this.#text(start, end));
  }

  #trim({ start, end, ...inside }: Part): Part {
    let first = start;
    let last = end;
    while (first < last && isSpace(this.#bytes[first])) first++;
    while (last > first && isSpace(this.#bytes[last - 1])) last--;
    return { start: first, end: last, ...inside };
  }

  /** Decodes bytes; yields to other events first if this turn has lasted too long. */
  async #text(start: number, end: number): Promise<string> {
    await this.#turn.rest();
    return this.#bytes.toString('utf8', start, end);
  }

  async #container({ start, end, from }: Part, opener: number): Promise<unknown> {
    const { positions, closers } = this.#outline;
    const close = closers[from]!;
    if (positions[from] !== start || positions[close]! + 1 !== end)
      throw malformed(`text follows the value that ends at byte ${positions[close]}`);
    const isArray = opener === OPEN_ARRAY;
    const into: unknown[] | Record<string, unknown> = isArray ? [] : {};
    // Adjacent small parts are parsed together, a large part alone.
    let group: Part | undefined;
    let parts = 0;
    const flush = async () => {
      if (group)
        this.#add(
          into,
          parseText(
            isArray ? `[${await this.#text(group.start, group.end)}]` : `{${await this.#text(group.start, group.end)}}`,
          ),
        );
      group = undefined;
    };
    for (const part of this.#parts(start + 1, from + 1, close)) {
      parts++;
      if (part.end - part.start > this.#piece) {
        await flush();
        await this.#addLarge(into, part);
      } else if (group && part.end - group.start <= this.#piece) group = { ...group, end: part.end, to: part.to };
      else {
        await flush();
        group = part;
      }
    }
    await flush();
    if (!isArray && parts > WIDE) wide.add(into);
    return into;
  }

  /** Yields the parts of a container between its commas. */
  *#parts(start: number, from: number, close: number): Generator<Part> {
    const { positions, closers } = this.#outline;
    let part = { start, from };
    for (let i = from; i < close; i++) {
      const byte = this.#bytes[positions[i]!];
      if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) i = closers[i]!;
      else if (byte === COMMA) {
        yield this.#notBlank({ ...part, end: positions[i]!, to: i });
        part = { start: positions[i]! + 1, from: i + 1 };
      }
    }
    // A container larger than a piece is not empty: a blank last part follows a comma.
    yield this.#notBlank({ ...part, end: positions[close]!, to: close });
  }

  #notBlank(part: Part): Part {
    for (let at = part.start; at < part.end; at++) if (!isSpace(this.#bytes[at])) return part;
    throw malformed(`a value is missing at byte ${part.start}`);
  }

  async #addLarge(into: unknown[] | Record<string, unknown>, part: Part): Promise<void> {
    if (Array.isArray(into)) {
      const value = await this.#value(part);
      if (typeof value === 'number') setSource(into, String(into.length), this.#source(part));
      into.push(value);
      return;
    }
    const colon = part.from < part.to ? this.#outline.positions[part.from]! : -1;
    if (colon < 0 || this.#bytes[colon] !== COLON) throw malformed(`the key at byte ${part.start} has no value`);
    const key = await this.#value({ ...part, end: colon, to: part.from });
    if (typeof key !== 'string') throw malformed(`the key at byte ${part.start} is no string`);
    const valuePart = { ...part, start: colon + 1, from: part.from + 1 };
    const value = await this.#value(valuePart);
    this.#define(into, key, value);
    setSource(into, key, typeof value === 'number' ? this.#source(valuePart) : undefined);
  }

  #add(into: unknown[] | Record<string, unknown>, parsed: unknown): void {
    if (Array.isArray(into)) {
      moveSources(parsed as unknown[], into, into.length);
      for (const value of parsed as unknown[]) into.push(value);
      return;
    }
    for (const [key, value] of Object.entries(parsed as object)) {
      this.#define(into, key, value);
      setSource(into, key, undefined);
    }
    moveSources(parsed as object, into);
  }

  /** Returns a number as it is written. */
  #source(part: Part): string {
    const { start, end } = this.#trim(part);
    return this.#bytes.toString('latin1', start, end);
  }

  /** Sets a field as `JSON.parse` does: the last of equal keys counts, and `__proto__` is an ordinary key. */
  #define(into: Record<string, unknown>, key: string, value: unknown): void {
    if (key === '__proto__')
      Object.defineProperty(into, key, { value, enumerable: true, configurable: true, writable: true });
    else into[key] = value;
  }

  async #longString(start: number, end: number): Promise<string> {
    if (this.#bytes[end - 1] !== QUOTE) throw malformed(`the string at byte ${start} is not closed`);
    const last = end - 1;
    let text = '';
    for (let from = start + 1; from < last; ) {
      const to = this.#cut(from, last);
      text += parseText(`"${await this.#text(from, to)}"`) as string;
      from = to;
    }
    return text;
  }

  /** Returns the end of the piece of a string that starts at `from`, outside of escapes and characters. */
  #cut(from: number, last: number): number {
    const wanted = from + this.#piece;
    if (wanted >= last) return last;
    const until = this.#bytes.subarray(0, wanted);
    for (let slash = until.indexOf(BACKSLASH, from); slash >= 0; ) {
      const next = slash + (this.#bytes[slash + 1] === LETTER_U ? 6 : 2);
      if (next >= wanted) return Math.min(next, last);
      slash = until.indexOf(BACKSLASH, next);
    }
    let to = wanted;
    while (to > from && (this.#bytes[to]! & 0xc0) === 0x80) to--;
    return to;
  }
}

/** Length of the byte-order mark at the start of a text, in bytes. */
const markOf = (bytes: Buffer): number => (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0);

/**
 * Parses UTF-8 JSON as `JSON.parse` does (without a byte-order mark), and yields to other events every few milliseconds, so that a body of
 * many megabytes does not block the event loop. `outline` is that of a `JsonScanner` over the same bytes; `piece` is the number of bytes
 * parsed at once. `stringifyExact` writes what this returns with numbers as they came.
 *
 * @throws WinnowError `malformed_json`.
 */
export async function parseInTurns(bytes: Buffer, outline: JsonOutline, piece = PIECE): Promise<unknown> {
  const start = markOf(bytes);
  return bytes.length <= piece
    ? parseText(bytes.toString('utf8', start))
    : new Parser(bytes, outline, piece).whole(start);
}
