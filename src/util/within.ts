/**
 * Waits for `work`, at most `limitMs` milliseconds; work that is late goes on, and what becomes of it is ignored.
 * @throws what `work` throws, or the error of `late`.
 */
export async function within<T>(limitMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  const { promise: timeUp, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), limitMs);
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}
