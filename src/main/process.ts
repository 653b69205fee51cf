import type { Logger } from '../telemetry/logger.ts';

/** Handles SIGTERM and SIGINT: the first drains and exits (1 if requests were cut off), the second exits at once. */
export function handleSignals(server: { close(): Promise<number> }, logger: Logger): void {
  let isClosing = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'signal');
    if (isClosing) process.exit(1);
    isClosing = true;
    server.close().then(
      (lost) => process.exit(lost === 0 ? 0 : 1),
      (error: unknown) => {
        logger.error({ err: error }, 'close failed');
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
}

/** Ends the process at SIGTERM or SIGINT while there is nothing to drain yet. @returns The call that leaves these signals to others. */
export function exitOnSignals(logger: Logger): () => void {
  const onSignal = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'signal before the start was complete');
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
  return () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, onSignal);
  };
}

/**
 * Handles SIGHUP, which then never ends the process: it reloads.
 * @returns The call that says how, once there is something to reload. A signal that came before has its reload then.
 */
export function handleHangUps(logger: Logger): (reload: () => Promise<void>) => void {
  let isWaiting = false;
  let run = async (): Promise<void> => {
    isWaiting = true;
  };
  process.on('SIGHUP', (signal) => {
    logger.info({ signal }, 'signal');
    void run();
  });
  return (reload) => {
    run = reload;
    if (isWaiting) void run();
  };
}

/** Logs uncaught exceptions and rejections and exits with 1: the state of the process is unknown after them. */
export function handleFaults(logger: Logger): void {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(event, (error: unknown) => {
      logger.error({ err: error }, event);
      process.exit(1);
    });
}
