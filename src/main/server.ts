import { readFileSync } from 'node:fs';
import type { Config } from '../config/config-schema.ts';
import { loadConfig, printConfig } from '../config/load-config.ts';
import { settingsHelp } from '../config/setting-help.ts';
import { WinnowError } from '../errors.ts';
import type { RequestEvent } from '../http/ports.ts';
import type { MetricsFormat } from '../telemetry/instruments.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';
import { once } from '../util/once.ts';
import { parseJson } from '../util/parse-json.ts';
import { closeAll, closeWithin } from './close-all.ts';
import { countBatches, isRefusedUnread, observeRequests } from './observe.ts';
import { isInference, openReadiness } from './open-readiness.ts';
import { checkStart } from './preflight.ts';
import { handleFaults, handleSignals } from './process.ts';
import { warnOfReplicas } from './replicas.ts';
import { withSources } from './serve-sources.ts';
import { openServerParts } from './server-parts.ts';
import { watchProcess } from './watch.ts';

/*
 * The composition root of `winnow serve`: parse, build, listen, handle signals. Which class implements which port is chosen in src/main/
 * and nowhere else.
 */

/** How long hosts, threads, database and traces may take to close, together, before the process ends without them. */
const CLOSE_MS = 15_000;

const VERSION: string = Object(parseJson(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))).version;

interface RunningServer {
  readonly url: string;
  /** Resolves after the first check of readiness to whether a real inference succeeded; `/health/ready` gives the reason if not. */
  readonly warm: Promise<boolean>;
  /** Answers accepted requests, then closes everything. @returns requests cut off because `server.drainMs` was over. */
  close(): Promise<number>;
}

/**
 * Starts a whole server: hosts, threads, registry, HTTP. It listens when this returns; it is ready when `warm` is true.
 * @param hostProgram Path of the inference hosts' program, for measurements without an engine.
 * @throws WinnowError with every fault of the settings and what they point to. Nothing is left running then.
 */
export async function startServer(
  given: Config,
  logger: Logger = createLogger(given.telemetry.logLevel),
  { hostProgram }: { readonly hostProgram?: string } = {},
): Promise<RunningServer> {
  await checkStart(given);
  const config = await withSources(given, VERSION, logger);
  const cleanup = new AsyncDisposableStack();
  try {
    const { metrics, tracing, stack, openHttp } = await openServerParts(config, logger, VERSION, cleanup, hostProgram);
    warnOfReplicas(config, logger);
    const readiness = openReadiness(config, stack, logger);
    const build = { version: VERSION, provider: stack.pool.provider };
    watchProcess(metrics, build, () => readiness.ready);
    const observer = observeRequests(metrics);
    const telemetry = {
      logger,
      tracing,
      ...observer,
      onRequest(event: RequestEvent) {
        observer.onRequest(event);
        if (isRefusedUnread(event)) stack.scheduler.demand.noteUnread();
        if (isInference(event, stack.registry.defaultModel)) readiness.answered();
      },
      metrics: (format: MetricsFormat) => metrics.render(format),
      batches: () => countBatches(metrics),
    };
    const { url, drain } = await openHttp(config, stack, { version: VERSION, readiness, telemetry, metrics });
    logger.info({ url, ...build, hosts: stack.pool.size, models: config.registry.folder }, 'listening');
    const close = async (): Promise<number> => {
      readiness.drain();
      logger.info({ inFlight: drain.inFlight() }, 'draining');
      const lost = await drain.run(config.server.drainMs);
      await closeWithin(CLOSE_MS, cleanup, logger);
      logger.info({ lost }, 'closed');
      return lost;
    };
    const warm = readiness.start().then(({ ready }) => ready);
    return { url, warm, close: once(close) };
  } catch (error) {
    await closeAll(cleanup);
    throw error;
  }
}

/**
 * Runs `winnow serve`: from the command line to a server that handles signals.
 * @throws WinnowError when the start fails; the caller prints it.
 */
export async function serve(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(settingsHelp());
    return;
  }
  const config = loadConfig(
    argv.filter((flag) => flag !== '--print-config'),
    env,
  );
  if (argv.includes('--print-config')) {
    process.stdout.write(printConfig(config));
    return;
  }
  const logger = createLogger(config.telemetry.logLevel);
  handleFaults(logger);
  handleSignals(await startServer(config, logger), logger);
}

if (import.meta.main)
  serve(process.argv.slice(2), process.env).catch((error: unknown) => {
    process.stderr.write(`winnow: ${error instanceof WinnowError ? error.message : (error as Error).stack}\n`);
    process.exit(2);
  });
