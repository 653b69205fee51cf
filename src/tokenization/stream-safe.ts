/**
 * More than 30 marks in a row, as no writing system has. Marks are the characters that normalization may reorder, and those that look like
 * them; U+034F ends a run.
 */
const LONG_RUN = /[\p{M}--[\u034f]]{31}/v;
/** What a long run is made of, which is quicker to look for: all marks are beyond Latin. */
const BEYOND_LATIN = /[\u0300-\uffff]{31}/;
const FULL_RUN = /[\p{M}--[\u034f]]{30}(?=[\p{M}--[\u034f]])/gv;

/**
 * Returns text in the stream-safe format of Unicode (UAX #15): U+034F after every 30 combining marks in a row. Normalization sorts the
 * marks of a run, in the square of its length.
 */
export function streamSafe(text: string): string {
  return BEYOND_LATIN.test(text) && LONG_RUN.test(text) ? text.replace(FULL_RUN, '$&\u034f') : text;
}
