import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { type Config, loadConfig, printConfig, settingsHelp } from '../config/config.ts';
import { WinnowError } from '../errors.ts';
import type { SupervisedPool } from '../inference/pool.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createTracing, type Tracing } from '../telemetry/tracing.ts';
import { Closers, once } from './closers.ts';
import { observePool, observeRequests, watchProcess } from './observe.ts';
import { openHostPool } from './open-host-pool.ts';
import { checkStart } from './preflight.ts';
import { handleFaults, handleSignals } from './process.ts';
import { ReadinessLatch } from './readiness.ts';
import type { Stack } from './stack.ts';

/*
 * The composition root of `winnow serve`: parse, build, listen, handle signals. Which class stands behind which port is chosen here and in
 * src/main/, nowhere else.
 */

const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;

export interface RunningServer {
  readonly url: string;
  /** Resolves when the first check of readiness is over: whether a real inference succeeded; `/health/ready` says why not. */
  readonly warm: Promise<boolean>;
  /** Answers what was accepted, then ends everything. @returns requests cut off because `server.drainMs` was over. */
  close(): Promise<number>;
}

/** Scores a pair through all that a request goes through, and loads what has to be in memory besides. */
async function warmUp(config: Config, { registry, reranker, warmed }: Stack): Promise<void> {
  const lease = await registry.acquire();
  lease.release();
  // The exact version: a request that names one is outside every experiment.
  const model = `${lease.version.name}@${lease.version.version}`;
  const probe = { requestId: 'warm-up', model, query: 'ready', passages: ['yes'], truncate: true } as const;
  await reranker.rerank({ ...probe, lane: 'interactive', deadlineMs: config.server.requestTimeoutMs });
  for (const name of config.registry.preload) (await registry.acquire(name)).release();
  await warmed();
  // Now all code is compiled: the next start finds it, however this process ends. Does nothing where no cache is on.
  flushCompileCache();
}

function openReadiness(config: Config, stack: Stack, logger: Logger): ReadinessLatch {
  return new ReadinessLatch({
    check: () => warmUp(config, stack),
    onChange: (state) => logger[state.ready || state.reason === 'shutting down' ? 'info' : 'error'](state, 'readiness'),
  });
}

function openTracing({ telemetry }: Config, logger: Logger): Promise<Tracing> {
  return createTracing({
    ...{ endpoint: telemetry.otlpEndpoint, ratio: telemetry.traceRatio, serviceVersion: VERSION },
    onExportError: (error) => logger.warn({ err: error }, 'traces were not taken'),
  });
}

/** Hosts that are starting, and the metrics that hear of them. */
interface Beginning {
  readonly pool: Promise<SupervisedPool>;
  readonly metrics: Promise<Metrics>;
}

/** Begins with what takes longest: the hosts start while this process loads the rest of itself. */
function begin(config: Config, logger: Logger, closers: Closers): Beginning {
  const pool = openHostPool(config, logger, (event) => {
    void metrics.then((known) => observePool(known, logger)(event));
  });
  const metrics = import('../telemetry/metrics.ts').then(({ createMetrics }) => createMetrics());
  closers.add(async () => (await metrics).close());
  // Whoever waits for the pool hears of its failure.
  const opened = pool.catch(() => undefined);
  closers.add(async () => (await opened)?.close());
  return { pool, metrics };
}

/** The stack, and the HTTP layer in front of it. */
async function openParts(config: Config, logger: Logger, { pool, metrics: known }: Beginning, closers: Closers) {
  const metrics = await known;
  const { openStack } = await import('./stack.ts');
  const stack = await openStack(config, { metrics, logger, pool });
  closers.add(() => stack.close());
  // The hosts read the default model meanwhile; the check of readiness says what became of it.
  stack.registry.acquire().then(
    (lease) => lease.release(),
    () => undefined,
  );
  const { openHttp } = await import('./open-http.ts');
  return { metrics, stack, openHttp };
}

/**
 * Starts a whole server: hosts, threads, registry, HTTP. It listens when this returns; it is ready when `warm` is true.
 * @throws WinnowError with every fault of the settings and what they point to. Nothing is left running then.
 */
export async function startServer(
  config: Config,
  logger: Logger = createLogger(config.telemetry.logLevel),
): Promise<RunningServer> {
  await checkStart(config);
  const closers = new Closers();
  const beginning = begin(config, logger, closers);
  try {
    const tracing = await openTracing(config, logger);
    closers.add(() => tracing.close());
    const { metrics, stack, openHttp } = await openParts(config, logger, beginning, closers);
    const readiness = openReadiness(config, stack, logger);
    const about = { version: VERSION, provider: stack.pool.provider };
    watchProcess(metrics, about, () => readiness.ready);
    const telemetry = { logger, tracing, ...observeRequests(metrics), metrics: () => metrics.render() };
    const { url, drain } = await openHttp(config, stack, { version: VERSION, readiness, telemetry, metrics });
    logger.info({ url, ...about, hosts: stack.pool.size, models: config.registry.folder }, 'listening');
    const close = async (): Promise<number> => {
      readiness.drain();
      logger.info({ inFlight: drain.inFlight() }, 'draining');
      const lost = await drain.run(config.server.drainMs);
      await closers.close();
      logger.info({ lost }, 'closed');
      return lost;
    };
    const warm = readiness.check().then(({ ready }) => ready);
    return { url, warm, close: once(close) };
  } catch (error) {
    await closers.close();
    throw error;
  }
}

/**
 * `winnow serve`: from the command line to a server that answers signals.
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
