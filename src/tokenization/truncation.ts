import type { Truncation } from './tokenization-types.ts';

/** Tokens kept of query and passage. */
interface PairLengths {
  readonly query: number;
  readonly passage: number;
}

/**
 * Returns the tokens that a pair keeps of query and passage. `room` is the length without special tokens, at least 2.
 *
 * `longest_first` is as in Hugging Face's fast tokenizers: tokens are removed from the longer side until both are equal, then each side
 * gets half of the room. If the room is odd, the side that was longer gets one more; the passage if both were equal. `only_second` cuts the
 * passage only. If the query leaves no room for it, the query is cut so that one token of the passage remains.
 */
export function fitPair(query: number, passage: number, room: number, truncation: Truncation): PairLengths {
  if (query + passage <= room) return { query, passage };
  if (truncation === 'only_second') {
    const kept = Math.min(query, passage > 0 ? room - 1 : room);
    return { query: kept, passage: Math.min(passage, room - kept) };
  }
  const half = Math.floor(room / 2);
  const shorter = Math.min(query, passage);
  const fits = shorter + Math.max(shorter, room - shorter) <= room;
  const small = fits ? shorter : half;
  return query > passage ? { query: room - small, passage: small } : { query: small, passage: room - small };
}

/** A range of tokens. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/** Returns the range of the first `kept` of `length` tokens; of the last for side `left`. */
export function keptSpan(length: number, kept: number, side: 'left' | 'right'): Span {
  return { start: side === 'left' ? length - kept : 0, length: kept };
}

/**
 * Returns windows of at most `width` tokens over `length` tokens. Neighbors share `overlap` tokens, limited to half of `width` so that
 * every window advances. An empty passage has one empty window, because it needs a row.
 */
export function windows(length: number, width: number, overlap: number): Span[] {
  const step = width - Math.min(overlap, Math.floor(width / 2));
  const spans: Span[] = [];
  for (let start = 0; start === 0 || start + (width - step) < length; start += step)
    spans.push({ start, length: Math.min(width, length - start) });
  return spans;
}
