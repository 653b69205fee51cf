import type { Config } from '../config/config-schema.ts';
import type { SupervisedPool } from '../inference/host-pool.ts';
import type { PoolObserver } from '../inference/pool-observer.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createTracing, type Tracing } from '../telemetry/tracing.ts';
import { observePool } from './observe.ts';
import { openHostPool } from './open-host-pool.ts';
import { type HostPlan, planHosts } from './plan-hosts.ts';
import type { Stack } from './stack.ts';

/** What a server is made of, apart from HTTP. */
export interface ServerParts {
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  readonly stack: Stack;
  /** Calls `listener` for every event of the hosts from now on. */
  onPoolEvent(listener: PoolObserver): void;
  /** Puts HTTP in front of the stack. It comes with the parts because its module is loaded while the hosts start. */
  readonly openHttp: typeof import('./open-http.ts').openHttp;
}

interface Starting {
  readonly plan: Promise<HostPlan>;
  readonly listeners: PoolObserver[];
  readonly pool: Promise<SupervisedPool>;
  readonly metrics: Promise<Metrics>;
}

/** Starts what takes longest: the hosts start while this process loads its other modules. */
function startHosts(config: Config, logger: Logger, cleanup: AsyncDisposableStack, program?: string): Starting {
  const listeners: PoolObserver[] = [];
  const observe: PoolObserver = (event) => {
    for (const listener of listeners) listener(event);
    void metrics.then((known) => observePool(known, logger)(event));
  };
  const plan = planHosts(config, logger);
  const pool = openHostPool(config, logger, observe, program, plan);
  const metrics = import('../telemetry/instruments.ts').then(({ createMetrics }) => createMetrics());
  cleanup.defer(async () => (await metrics).close());
  // A failed start rejects every pending `pool` await; there is nothing to close then.
  const opened = pool.catch(() => undefined);
  cleanup.defer(async () => (await opened)?.close());
  return { listeners, plan, pool, metrics };
}

function openTracing({ telemetry }: Config, logger: Logger, version: string): Promise<Tracing> {
  return createTracing({
    endpoint: telemetry.otlpEndpoint,
    ratio: telemetry.traceRatio,
    serviceVersion: version,
    onExportError: (error) => logger.warn({ err: error }, 'traces were not taken'),
    onNote: (note) => logger.warn({ note }, 'OpenTelemetry variable'),
  });
}

/**
 * Opens hosts, metrics, tracing and the stack of a server, and begins to load the default model.
 * @param cleanup receives the calls that close what was opened; the caller runs them, also after a failure.
 * @param program Path of the hosts' program, for measurements without an engine.
 * @throws WinnowError `provider_unavailable`, `host_lost`, `invalid_input`.
 */
export async function openServerParts(
  config: Config,
  logger: Logger,
  version: string,
  cleanup: AsyncDisposableStack,
  program?: string,
): Promise<ServerParts> {
  const { listeners, plan, pool, metrics: loading } = startHosts(config, logger, cleanup, program);
  const tracing = await openTracing(config, logger, version);
  cleanup.defer(() => tracing.close());
  const metrics = await loading;
  const { openStack } = await import('./stack.ts');
  const stack = await openStack(config, { metrics, logger, pool, plan, tracing });
  cleanup.defer(() => stack.close());
  // The hosts read the default model while HTTP is loaded; the check of readiness reports a failure.
  stack.registry.acquire().then(
    (lease) => lease.release(),
    () => undefined,
  );
  const { openHttp } = await import('./open-http.ts');
  return { metrics, tracing, stack, openHttp, onPoolEvent: (listener) => void listeners.push(listener) };
}
