/** Sizes of the pieces of a text, in UTF-16 units. */
export interface PieceSizes {
  /** A piece ends at the first good place after so many units. */
  readonly usual: number;
  /** A piece without a good place ends after so many. */
  readonly most: number;
}

/** Sizes where nothing else waits: one word of a million units is still tokenized as a whole. */
export const LARGE_PIECES: PieceSizes = { usual: 2 ** 16, most: 2 ** 20 };
/** Sizes in a thread that requests share: any text of this size takes well below a second. */
export const QUICK_PIECES: PieceSizes = { usual: 2 ** 16, most: 2 ** 17 };

/**
 * Cuts a long text into pieces, from its beginning or from its end. A cut is before a single blank between two other ASCII characters, which
 * changes no token in any family; if a piece has none, between two characters.
 */
export function* textPieces(text: string, sizes: PieceSizes, from: 'start' | 'end' = 'start'): Generator<string> {
  let [start, end] = [0, text.length];
  while (end - start > sizes.usual) {
    const cut = from === 'start' ? cutAfter(text, start, end, sizes) : cutBefore(text, start, end, sizes);
    if (cut === start || cut === end) break;
    yield from === 'start' ? text.slice(start, cut) : text.slice(cut, end);
    if (from === 'start') start = cut;
    else end = cut;
  }
  yield start === 0 && end === text.length ? text : text.slice(start, end);
}

/** Returns where the first piece ends; `end` if the rest is one piece. */
function cutAfter(text: string, start: number, end: number, { usual, most }: PieceSizes): number {
  const last = Math.min(start + most, end - 1);
  for (let at = start + usual; at <= last; at++) if (isGoodCut(text, at)) return at;
  if (start + most >= end) return end;
  return isSecondHalf(text, start + most) ? start + most - 1 : start + most;
}

/** Returns where the last piece starts; `start` if the rest is one piece. */
function cutBefore(text: string, start: number, end: number, { usual, most }: PieceSizes): number {
  const first = Math.max(end - most, start + 1);
  for (let at = end - usual; at >= first; at--) if (isGoodCut(text, at)) return at;
  if (end - most <= start) return start;
  return isSecondHalf(text, end - most) ? end - most + 1 : end - most;
}

function isGoodCut(text: string, at: number): boolean {
  return (
    text.charCodeAt(at) === 32 && isPrintableAscii(text.charCodeAt(at - 1)) && isPrintableAscii(text.charCodeAt(at + 1))
  );
}

/** Whether the unit at an index is the second half of a surrogate pair. */
function isSecondHalf(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}

/** Whether a unit is printable ASCII, which is no white space and never joins its neighbors in a grapheme. */
function isPrintableAscii(unit: number): boolean {
  return unit > 32 && unit < 127;
}
