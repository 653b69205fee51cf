import type { Truncation } from './tokenization-types.ts';

/** Tokens kept of query and passage. */
export interface PairLengths {
  readonly query: number;
  readonly passage: number;
}

/**
 * How many tokens of each side a pair keeps, `room` being what special tokens leave (at least 2).
 *
 * `longest_first` is what Hugging Face's fast tokenizers compute: tokens leave the longer side one at a time, and once both are equal each
 * side has half of the room; of an odd room the side that was longer has the larger half, the passage if both were equal.
 * `only_second` cuts the passage alone; where the query would leave nothing of it, the query is cut to leave one token.
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

/** A stretch of a passage's tokens. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/** The stretch of `kept` out of `length` tokens: the beginning, or the end for side `left`. */
export function keptSpan(length: number, kept: number, side: 'left' | 'right'): Span {
  return { start: side === 'left' ? length - kept : 0, length: kept };
}

/**
 * Windows of at most `width` tokens over `length` tokens, neighbors sharing `overlap` (at most half of `width`, so that every window
 * moves on). No window is empty; an empty passage has one window of no tokens, because it still has a row.
 */
export function windows(length: number, width: number, overlap: number): Span[] {
  const step = width - Math.min(overlap, Math.floor(width / 2));
  const spans: Span[] = [];
  for (let start = 0; start === 0 || start + (width - step) < length; start += step)
    spans.push({ start, length: Math.min(width, length - start) });
  return spans;
}
