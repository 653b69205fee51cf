/**
 * Yields windows over a list, from its end to its start, as places in the list, the second exclusive. Windows overlap, so that good passages
 * move up from window to window (RankGPT, arXiv 2304.09542).
 */
export function* windows(count: number, size: number, stride: number): Generator<readonly [from: number, to: number]> {
  for (let to = count; ; to -= stride) {
    const from = Math.max(0, to - size);
    yield [from, to];
    if (from === 0) return;
  }
}

/**
 * Ranks a whole list by ranking windows of it.
 * @param rank returns the order of the items shown, as their places.
 */
export async function slide<T>(
  items: readonly T[],
  size: number,
  stride: number,
  rank: (shown: readonly T[]) => Promise<readonly number[]>,
): Promise<T[]> {
  const ranked = [...items];
  for (const [from, to] of windows(items.length, size, stride)) {
    const shown = ranked.slice(from, to);
    if (shown.length < 2) continue;
    const order = await rank(shown);
    ranked.splice(from, shown.length, ...order.map((place) => shown[place]!));
  }
  return ranked;
}
