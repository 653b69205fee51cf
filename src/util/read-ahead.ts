/** Bytes that wait to be taken before the source is left alone. */
const WAITING_BYTES = 4 * 2 ** 20;

/**
 * Reads a stream ahead of its consumer, from the call on, so that what arrived before the stream broke is delivered before its error: a web
 * stream drops its queue when it fails.
 * @param most Bytes waiting above which reading pauses.
 * @throws What the stream threw, after the last chunk that it gave.
 */
export function readAhead(
  stream: ReadableStream<Uint8Array>,
  most = WAITING_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = stream.getReader();
  const waiting: Uint8Array[] = [];
  const state = { bytes: 0, isDone: false, failure: undefined as { readonly error: unknown } | undefined };
  let wakeSource = () => {};
  let wakeConsumer = () => {};

  const pump = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      waiting.push(value);
      state.bytes += value.byteLength;
      wakeConsumer();
      if (state.bytes > most) await new Promise<void>((resolve) => (wakeSource = resolve));
    }
  };
  void pump()
    .catch((error: unknown) => (state.failure = { error }))
    .finally(() => {
      state.isDone = true;
      wakeConsumer();
    });

  async function* take() {
    try {
      for (;;) {
        const chunk = waiting.shift();
        if (chunk) {
          state.bytes -= chunk.byteLength;
          wakeSource();
          yield chunk;
        } else if (state.isDone) break;
        else await new Promise<void>((resolve) => (wakeConsumer = resolve));
      }
      if (state.failure) throw state.failure.error;
    } finally {
      wakeSource();
      // A consumer that leaves early ends the transfer; the reason of a failure is thrown above.
      await reader.cancel().catch(() => undefined);
    }
  }
  return take();
}
