import type { PlaygroundAnswer } from '../types.ts';

/** Places a passage gains (positive) or loses from one ranking to another. */
export type Move = number;

/** Returns the move of each passage, by its index, from `before` to `after`. */
export function rankMoves(
  before: Pick<PlaygroundAnswer, 'ranking'>,
  after: Pick<PlaygroundAnswer, 'ranking'>,
): ReadonlyMap<number, Move> {
  const old = new Map(before.ranking.map(({ index }, rank) => [index, rank]));
  return new Map(after.ranking.map(({ index }, rank) => [index, (old.get(index) ?? rank) - rank]));
}

/** Computes Kendall's τ of two rankings of the same passages: 1 for the same order, −1 for the reverse. */
export function kendall(a: Pick<PlaygroundAnswer, 'ranking'>, b: Pick<PlaygroundAnswer, 'ranking'>): number {
  const rank = new Map(b.ranking.map(({ index }, place) => [index, place]));
  const places = a.ranking.map(({ index }) => rank.get(index)!);
  let balance = 0;
  for (let i = 0; i < places.length; i++)
    for (let j = i + 1; j < places.length; j++) balance += Math.sign(places[j]! - places[i]!);
  const pairs = (places.length * (places.length - 1)) / 2;
  return pairs === 0 ? 1 : balance / pairs;
}

/**
 * Parses typed passages: one per line, or a JSON array of strings or of objects with `text`.
 * @throws Error for JSON of another form.
 */
export function readPassages(text: string): readonly string[] {
  const trimmed = text.trim();
  if (!trimmed.startsWith('['))
    return trimmed
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter(Boolean);
  const list = JSON.parse(trimmed) as readonly unknown[];
  return list.map((item, i) => {
    const passage = typeof item === 'object' && item !== null ? (item as { text?: unknown }).text : item;
    if (typeof passage !== 'string')
      throw new Error(`expected a string or an object with "text", got ${typeof passage} (passage ${i})`);
    return passage;
  });
}
