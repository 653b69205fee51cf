import type { Logger } from '../telemetry/logger.ts';

/** What the process does on signals: the first drains and exits (1 if requests had to be cut off), the second exits at once. */
export function handleSignals(server: { close(): Promise<number> }, logger: Logger): void {
  let asked = false;
  const leave = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'signal');
    // Somebody who asks twice does not want to wait.
    if (asked) process.exit(1);
    asked = true;
    server.close().then(
      (lost) => process.exit(lost === 0 ? 0 : 1),
      (error: unknown) => {
        logger.error({ err: error }, 'close failed');
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, leave);
}

/** A fault nobody caught leaves the process in a state nobody knows: it is logged, and the process ends so that another takes over. */
export function handleFaults(logger: Logger): void {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(event, (error: unknown) => {
      logger.error({ err: error }, event);
      process.exit(1);
    });
}
