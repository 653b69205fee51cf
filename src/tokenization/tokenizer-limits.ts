import { refusal } from './refusal.ts';

/*
 * A thread that runs out of heap inside V8 can end the whole process; its resource limit does not always turn that into an error of the
 * thread alone. So the memory for everything in a model folder and in a request is limited here.
 */

/** The largest configuration or special-token file, in bytes. */
export const MAX_SETTINGS_BYTES = 8 * 1024 * 1024;
export const MAX_TOKENS = 2 ** 21;
const MAX_VALUES = 200_000;
const MAX_DEPTH = 64;

/**
 * Refuses JSON with more than `MAX_VALUES` values or `MAX_DEPTH` levels; `model.vocab` and `model.merges` do not count.
 * @throws WinnowError `invalid_manifest`.
 */
export function checkExtent(json: unknown, file: string): void {
  const { model, ...rest } = (typeof json === 'object' && json !== null ? json : {}) as { model?: object };
  const { vocab: _vocab, merges: _merges, ...settings } = (model ?? {}) as { vocab?: unknown; merges?: unknown };
  let values = 0;
  let level: unknown[] = Array.isArray(json) ? json : [rest, settings];
  for (let depth = 0; level.length > 0; depth++) {
    values += level.length;
    if (values > MAX_VALUES || depth > MAX_DEPTH)
      throw refusal(file, '(whole file)', `at most ${MAX_VALUES} values, ${MAX_DEPTH} deep`, 'more');
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
}

/** Longer texts, in UTF-16 units, are tokenized in pieces. */
const PIECE_UNITS = 2 ** 20;
/** UTF-16 units before the end of a piece in which a blank is searched. */
const SEARCHED_UNITS = 2 ** 16;

/**
 * Cuts a long text into pieces. A cut is before a single blank between two other ASCII characters, which changes no token in any family; if
 * there is none in the last `SEARCHED_UNITS`, between two characters.
 */
export function* textPieces(text: string): Generator<string> {
  let start = 0;
  while (text.length - start > PIECE_UNITS) {
    const end = cutBefore(text, start + PIECE_UNITS);
    yield text.slice(start, end);
    start = end;
  }
  yield start === 0 ? text : text.slice(start);
}

function cutBefore(text: string, limit: number): number {
  for (let at = limit; at > limit - SEARCHED_UNITS; at--)
    if (
      text.charCodeAt(at) === 32 &&
      isPrintableAscii(text.charCodeAt(at - 1)) &&
      isPrintableAscii(text.charCodeAt(at + 1))
    )
      return at;
  const isPair = (text.charCodeAt(limit) & 0xfc00) === 0xdc00;
  return isPair ? limit - 1 : limit;
}

/** Whether a unit is printable ASCII, which is no white space and never joins its neighbors in a grapheme. */
function isPrintableAscii(unit: number): boolean {
  return unit > 32 && unit < 127;
}
