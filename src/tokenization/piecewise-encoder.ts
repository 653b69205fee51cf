import { type PieceSizes, textPieces } from './text-pieces.ts';
import type { TokenEncoder } from './token-encoder.ts';

/** How many tokens of a text are needed. */
export interface Enough {
  readonly tokens: number;
  /** Which end of the text they are of. */
  readonly from: 'start' | 'end';
}

/** Ids of shorter texts are always complete, so that they can be cached. */
export const LONGEST_WHOLE = 2 ** 16;

/** Encodes texts of any length in pieces, so that memory is limited and work can be given up in between. */
export class PiecewiseEncoder {
  readonly #encoder: TokenEncoder;
  readonly #sizes: PieceSizes;

  constructor(encoder: TokenEncoder, sizes: PieceSizes) {
    this.#encoder = encoder;
    this.#sizes = sizes;
  }

  /**
   * Returns the ids of a text, without the special tokens of the template.
   * @param enough Of a text of more than 65,536 characters, ends after the piece that completes so many tokens. Default: the whole text.
   */
  encode(text: string, enough?: Enough): Int32Array<ArrayBuffer> {
    if (text.length <= this.#sizes.usual) return this.#encoder.encode(text);
    const steps = this.steps(text, enough);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /** The same in steps: yields after each piece but the last. */
  *steps(text: string, enough?: Enough): Generator<undefined, Int32Array<ArrayBuffer>, undefined> {
    if (text.length <= this.#sizes.usual) return this.#encoder.encode(text);
    const needed = text.length > LONGEST_WHOLE ? enough : undefined;
    const parts: Int32Array[] = [];
    let tokens = 0;
    for (const piece of textPieces(text, this.#sizes, needed?.from)) {
      if (parts.length > 0) yield;
      const ids = this.#encoder.encode(piece);
      parts.push(ids);
      tokens += ids.length;
      if (needed && tokens >= needed.tokens) break;
    }
    if (needed?.from === 'end') parts.reverse();
    const whole = new Int32Array(tokens);
    let end = 0;
    for (const ids of parts) {
      whole.set(ids, end);
      end += ids.length;
    }
    return whole;
  }
}
