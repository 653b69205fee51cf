/** Exit codes of processes that a signal ended, as shells count them: 128 and the signal's number. */
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

interface Stopping {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /**
   * Tells whether a signal came; then it says where the work stopped and how to go on, and sets the exit code.
   * @param where such as `at step 131 of 300`.
   */
  stopped(where: string): boolean;
}

/** Lets work end in order at the first SIGINT or SIGTERM. The second one of a kind ends the process at once. */
export function stopOnSignals(): Stopping {
  const stop = new AbortController();
  let code: number | undefined;
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => {
      code ??= SIGNAL_CODES[name];
      stop.abort();
    });
  return {
    signal: stop.signal,
    stopped(where) {
      if (code === undefined) return false;
      process.stderr.write(`\nstopped ${where}, run it again to go on\n`);
      process.exitCode = code;
      return true;
    },
  };
}
