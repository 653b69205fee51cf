/** Turns a text into token ids, without the special tokens of the template. Reuses its buffers, so calls must not overlap. */
export interface TokenEncoder {
  /** @param text Any string; lone surrogates count as U+FFFD. */
  encode(text: string): Int32Array<ArrayBuffer>;
}
