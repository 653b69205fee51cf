/** Returns a function that calls `work` at its first call and returns that call's result from then on. A throw is not kept. */
export function once<T>(work: () => T): () => T {
  let result: { readonly value: T } | undefined;
  return () => {
    result ??= { value: work() };
    return result.value;
  };
}
