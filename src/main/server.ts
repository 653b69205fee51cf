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
import { withFolderCascades } from './folder-cascades.ts';
import { openFront } from './front.ts';
import { countBatches, isRefusedUnread, observeRequests } from './observe.ts';
import { openKeys } from './open-keys.ts';
import { isInference, livenessOf, openReadiness } from './open-readiness.ts';
import { checkStart } from './preflight.ts';
import { exitOnSignals, handleFaults, handleHangUps, handleSignals } from './process.ts';
import type { ReadinessWatch } from './readiness.ts';
import { createReload } from './reload.ts';
import { warnOfReplicas } from './replicas.ts';
import { withSources } from './serve-sources.ts';
import { openServerParts, type ServerParts } from './server-parts.ts';
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
  /** The same of the listener for operators, where it has a port of its own. */
  readonly adminUrl: string | undefined;
  /** Resolves after the first check of readiness to whether a real inference succeeded; `/health/ready` gives the reason if not. */
  readonly warm: Promise<boolean>;
  /** Reads log level, keys and experiments again. Never rejects. */
  reload(): Promise<void>;
  /** Answers accepted requests, then closes everything. @returns requests cut off because `server.drainMs` was over. */
  close(): Promise<number>;
}

interface ServerOptions {
  /** Path of the inference hosts' program, for measurements without an engine. */
  readonly hostProgram?: string;
  /** Reads flags, variables and settings file again, for a reload. @throws WinnowError `invalid_config`. */
  readonly reread?: () => Config;
}

/**
 * Starts a whole server: hosts, threads, registry, HTTP. It answers probes from the beginning and everything when this returns; it is ready
 * when `warm` is true.
 * @throws WinnowError with every fault of the settings and what they point to. Nothing is left running then.
 */
export async function startServer(
  given: Config,
  logger: Logger = createLogger(given.telemetry.logLevel),
  { hostProgram, reread }: ServerOptions = {},
): Promise<RunningServer> {
  await checkStart(given);
  const cleanup = new AsyncDisposableStack();
  try {
    let waitsFor = 'models of registry.sources';
    const front = await openFront(given.server, logger, () => waitsFor);
    cleanup.defer(() => front.close());
    logger.info({ url: front.url, adminUrl: front.adminUrl }, 'starting: probes are answered');
    const config = await withFolderCascades(await withSources(given, VERSION, logger), logger);
    waitsFor = 'inference hosts';
    const parts = await openServerParts(config, logger, VERSION, cleanup, hostProgram);
    const { metrics, stack } = parts;
    warnOfReplicas(config, logger);
    const readiness = watchReadiness(config, parts, logger);
    const build = { version: VERSION, provider: stack.pool.provider };
    watchProcess(metrics, build, () => readiness.ready);
    const keys = await openKeys(config.auth.keysFile, { logger, metrics });
    cleanup.defer(() => keys.close());
    parts.openHttp(config, stack, front, {
      version: VERSION,
      readiness: {
        probe: () => readiness.probe(),
        liveness: () => livenessOf(stack.pool, config.inference.outageLimitMs),
        draining: () => readiness.draining(),
      },
      telemetry: telemetryOf(parts, readiness, logger),
      metrics,
      keys: keys.current,
    });
    const { url, adminUrl, drain } = front;
    logger.info({ url, adminUrl, ...build, hosts: stack.pool.size, models: config.registry.folder }, 'listening');
    const close = async (): Promise<number> => {
      readiness.drain();
      logger.info({ inFlight: drain.inFlight() }, 'draining');
      const lost = await drain.run(config.server.drainMs);
      await closeWithin(CLOSE_MS, cleanup, logger);
      logger.info({ lost }, 'closed');
      return lost;
    };
    const warm = readiness.start().then(({ ready }) => ready);
    const reload = createReload({
      logger,
      metrics,
      config: given,
      reread,
      keys: keys.reload,
      experiments: stack.reloadExperiments,
    });
    return { url, adminUrl, warm, reload, close: once(close) };
  } catch (error) {
    await closeAll(cleanup);
    throw error;
  }
}

/** Watches readiness. The loss of the last host, and the return of one, show at once. */
function watchReadiness(config: Config, { stack, onPoolEvent }: ServerParts, logger: Logger): ReadinessWatch {
  const readiness = openReadiness(config, stack, logger);
  onPoolEvent(({ kind }) => {
    if (kind === 'outage' || (kind === 'ready' && !readiness.ready)) void readiness.check();
  });
  return readiness;
}

/** What HTTP reports to. */
function telemetryOf({ metrics, tracing, stack }: ServerParts, readiness: ReadinessWatch, logger: Logger) {
  const observer = observeRequests(metrics);
  return {
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
  const read = () =>
    loadConfig(
      argv.filter((flag) => flag !== '--print-config'),
      env,
    );
  const config = read();
  if (argv.includes('--print-config')) {
    process.stdout.write(printConfig(config));
    return;
  }
  const logger = createLogger(config.telemetry.logLevel);
  handleFaults(logger);
  const reloadBy = handleHangUps(logger);
  const started = exitOnSignals(logger);
  const server = await startServer(config, logger, { reread: read });
  handleSignals(server, logger);
  started();
  reloadBy(server.reload);
}

if (import.meta.main)
  serve(process.argv.slice(2), process.env).catch((error: unknown) => {
    process.stderr.write(`winnow: ${error instanceof WinnowError ? error.message : (error as Error).stack}\n`);
    process.exit(2);
  });
