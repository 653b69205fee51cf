import { IdBuffer } from './id-buffer.ts';
import { type PieceSizes, textPieces } from './text-pieces.ts';
import type { TokenEncoder } from './token-encoder.ts';

/** How many tokens of a text are needed. */
export interface Enough {
  readonly tokens: number;
  /** Which end of the text they are of. */
  readonly from: 'start' | 'end';
}

/** Encodes texts of any length in pieces, so that memory is limited and work can be given up in between. */
export class PiecewiseEncoder {
  readonly #encoder: TokenEncoder;
  readonly #sizes: PieceSizes;
  readonly #ids = new IdBuffer();

  constructor(encoder: TokenEncoder, sizes: PieceSizes) {
    this.#encoder = encoder;
    this.#sizes = sizes;
  }

  /**
   * Returns the ids of a text, without the special tokens of the template.
   * @param enough Ends after the piece that completes so many tokens; default: the whole text.
   * @param between Called before each piece; may throw to give up.
   */
  encode(text: string, enough?: Enough, between?: () => void): Int32Array<ArrayBuffer> {
    if (text.length <= this.#sizes.usual) {
      between?.();
      return this.#encoder.encode(text);
    }
    const parts: Int32Array[] = [];
    let tokens = 0;
    for (const piece of textPieces(text, this.#sizes, enough?.from)) {
      between?.();
      const ids = this.#encoder.encode(piece);
      parts.push(ids);
      tokens += ids.length;
      if (enough && tokens >= enough.tokens) break;
    }
    if (enough?.from === 'end') parts.reverse();
    this.#ids.truncate(0);
    for (const ids of parts) this.#ids.append(ids);
    return this.#ids.take();
  }
}
