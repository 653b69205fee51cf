/** Turns one text into token ids, without special tokens of the template. Not safe for use by several callers at once: it is synchronous. */
export interface TextEncoder {
  /** @param text any string; lone surrogates count as U+FFFD. */
  encode(text: string): Int32Array<ArrayBuffer>;
}
