import { WinnowError } from '../../errors.ts';

/** Limits of a JSON body: far above any real request and far below what blocks an event loop. */
export interface JsonLimits {
  /** Brackets open at the same time. */
  readonly depth: number;
  /** Values: numbers, strings, literals, arrays and objects. */
  readonly values: number;
  /** Keys of all objects together. */
  readonly keys: number;
  /** Bytes between two structural characters outside of strings: no real request has a longer number or run of white space. */
  readonly gap: number;
}

export const JSON_LIMITS: JsonLimits = { depth: 64, values: 500_000, keys: 250_000, gap: 65_536 };

/**
 * Positions of the brackets, commas and colons of a JSON text outside of strings. Index `i` of all arrays is the same character.
 */
export interface JsonOutline {
  /** Byte offsets, ascending. */
  readonly positions: Uint32Array;
  /** For an opening bracket the index of its closing one; 0 elsewhere. */
  readonly closers: Uint32Array;
  readonly count: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const PLAIN = 0;
const STRUCTURAL = 1;
const STRING = 2;
const KIND = new Uint8Array(256);
for (const byte of [COMMA, COLON, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT]) KIND[byte] = STRUCTURAL;
KIND[QUOTE] = STRING;

const malformed = (reason: string): WinnowError => new WinnowError('malformed_json', { reason });

/**
 * Scans JSON text chunk by chunk as it arrives: counts values, keys and nesting and records the structure, without creating values. At about
 * 1 ms per megabyte it refuses a hostile body before `JSON.parse` would spend seconds and gigabytes on it.
 *
 * It does not decide whether the text is JSON: `parseInTurns` does.
 */
export class JsonScanner {
  readonly #limits: JsonLimits;
  #positions = new Uint32Array(256);
  #closers = new Uint32Array(256);
  #count = 0;
  /** Bytes of earlier chunks. */
  #offset = 0;
  #inString = false;
  /** Whether the byte before this chunk is a backslash that escapes the next one. */
  #escaped = false;
  /** Whether a string ended since the last structural character: another one would be malformed, and millions of them slow. */
  #afterString = false;
  /** End of the last structural character or string. */
  #lastMark = 0;
  /** Indices of the open brackets, and whether each is an object's. */
  readonly #open: number[] = [];
  readonly #objects: boolean[] = [];
  #values = 1;
  #keys = 0;

  constructor(limits: JsonLimits = JSON_LIMITS) {
    this.#limits = limits;
  }

  /** @throws WinnowError `body_too_complex`, `malformed_json` as soon as a limit is passed or brackets do not match. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) at = this.#inString ? this.#skipString(chunk, at) : this.#skipPlain(chunk, at);
    this.#offset += chunk.length;
  }

  /** Returns the outline of the whole text. @throws WinnowError `malformed_json` if a bracket or a string is still open. */
  end(): JsonOutline {
    this.#checkGap(this.#offset);
    if (this.#inString) throw malformed('a string is not closed');
    if (this.#open.length > 0)
      throw malformed(`the bracket at byte ${this.#positions[this.#open.at(-1)!]} is not closed`);
    return { positions: this.#positions, closers: this.#closers, count: this.#count };
  }

  /** Returns the position after the closing quote of the current string, or the end of the chunk. */
  #skipString(chunk: Uint8Array, from: number): number {
    let start = from;
    if (this.#escaped) {
      this.#escaped = false;
      start++;
    }
    for (let scan = start; ; ) {
      const quote = chunk.indexOf(QUOTE, scan);
      const end = quote < 0 ? chunk.length : quote;
      let backslashes = 0;
      while (end - 1 - backslashes >= start && chunk[end - 1 - backslashes] === BACKSLASH) backslashes++;
      const odd = backslashes % 2 === 1;
      if (quote < 0) {
        this.#escaped = odd;
        return chunk.length;
      }
      if (odd) {
        // The quote is escaped: a later run of backslashes begins after it.
        start = quote + 1;
        scan = start;
        continue;
      }
      this.#inString = false;
      this.#afterString = true;
      this.#lastMark = this.#offset + quote;
      return quote + 1;
    }
  }

  /** Reads text outside of strings; returns the position after the next opening quote, or the end of the chunk. */
  #skipPlain(chunk: Uint8Array, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const kind = KIND[chunk[at]!];
      if (kind === PLAIN) continue;
      this.#checkGap(this.#offset + at);
      this.#lastMark = this.#offset + at;
      if (kind === STRING) {
        if (this.#afterString) throw malformed(`a string follows another at byte ${this.#offset + at}`);
        this.#inString = true;
        return at + 1;
      }
      this.#mark(chunk[at]!, this.#offset + at);
    }
    return chunk.length;
  }

  #checkGap(here: number): void {
    if (here - this.#lastMark > this.#limits.gap)
      throw new WinnowError('body_too_complex', {
        limit: this.#limits.gap,
        what: 'bytes in a number or between values',
      });
  }

  #mark(byte: number, position: number): void {
    this.#afterString = false;
    const index = this.#count++;
    if (index === this.#positions.length) this.#grow();
    this.#positions[index] = position;
    if (byte === COMMA) this.#countValue();
    else if (byte === COLON) {
      if (++this.#keys > this.#limits.keys)
        throw new WinnowError('body_too_complex', { limit: this.#limits.keys, what: 'keys' });
    } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      this.#countValue();
      if (this.#open.push(index) > this.#limits.depth)
        throw new WinnowError('body_too_complex', { limit: this.#limits.depth, what: 'levels of nesting' });
      this.#objects.push(byte === OPEN_OBJECT);
    } else {
      const opener = this.#open.pop();
      if (opener === undefined || this.#objects.pop() !== (byte === CLOSE_OBJECT))
        throw malformed(`the bracket at byte ${position} closes none`);
      this.#closers[opener] = index;
    }
  }

  /** Counts a value for each comma and opening bracket; for an empty container that is one too many. */
  #countValue(): void {
    if (++this.#values > this.#limits.values)
      throw new WinnowError('body_too_complex', { limit: this.#limits.values, what: 'values' });
  }

  #grow(): void {
    const positions = new Uint32Array(this.#positions.length * 2);
    positions.set(this.#positions);
    const closers = new Uint32Array(positions.length);
    closers.set(this.#closers);
    this.#positions = positions;
    this.#closers = closers;
  }
}
