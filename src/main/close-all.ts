/**
 * Calls what was deferred to a stack of disposables: in the opposite order, once, and all of it, whatever fails.
 * @throws the first failure, after the last call.
 */
export async function closeAll(cleanup: AsyncDisposableStack): Promise<void> {
  try {
    await cleanup.disposeAsync();
  } catch (error) {
    let first = error;
    while (first instanceof SuppressedError) first = first.suppressed;
    throw first;
  }
}
