interface LookAhead<T> {
  /** The largest total weight of the items in progress. One item is always in progress, whatever its weight. */
  readonly limit: number;
  /** The share of `limit` that an item takes. Default: 1. */
  readonly weight?: (item: T) => number;
}

/** Runs `work` on several items at the same time and yields the results in the order of the items. */
export async function* mapAhead<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  { limit, weight = () => 1 }: LookAhead<T>,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, void> {
  const inProgress: { readonly weight: number; readonly result: Promise<R> }[] = [];
  let total = 0;
  const takeFirst = (): Promise<R> => {
    const first = inProgress.shift()!;
    total -= first.weight;
    return first.result;
  };
  for await (const item of items) {
    const own = weight(item);
    while (inProgress.length > 0 && total + own > limit) yield await takeFirst();
    const result = work(item);
    // A rejection is reported when the result is yielded; until then it must not count as unhandled.
    result.catch(() => undefined);
    inProgress.push({ weight: own, result });
    total += own;
  }
  while (inProgress.length > 0) yield await takeFirst();
}
