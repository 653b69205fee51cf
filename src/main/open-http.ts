import type { Config } from '../config/config-schema.ts';
import { createApp, createApps } from '../http/app.ts';
import { ByteAccount } from '../http/byte-account.ts';
import type { ApiKey } from '../http/keys.ts';
import type { HttpDeps, HttpTelemetry, Readiness } from '../http/ports.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import { consoleExtensions } from './console-extensions.ts';
import type { Front } from './front.ts';
import { replicasOf } from './replicas.ts';
import type { Stack } from './stack.ts';

interface HttpParts {
  readonly version: string;
  readonly readiness: Readiness;
  readonly telemetry: HttpTelemetry;
  readonly metrics: Metrics;
  /** Returns the keys in effect now. */
  readonly keys: () => readonly ApiKey[];
}

/** Creates the account of bytes in flight; it is read at each scrape. */
function watchedBytes(totalBytes: number, metrics: Metrics): ByteAccount {
  const account = new ByteAccount({ totalBytes });
  metrics.onScrape(() => metrics.bytesInFlight.set(account.held));
  return account;
}

/** Collects the settings and parts of the HTTP layer. */
function httpDeps(config: Config, stack: Stack, { version, readiness, telemetry, metrics, keys }: HttpParts): HttpDeps {
  const { server, auth, scheduling } = config;
  const { bodyLimitBytes, maxPassages, requestTimeoutMs, corsOrigins, hosts, autoTruncate, basePath, trustedProxies } =
    server;
  const startedAt = Date.now();
  const keyed = auth.keysFile !== undefined;
  return {
    reranker: stack.reranker,
    tokenReader: stack.tokenReader,
    registry: stack.registry,
    ...(stack.passagesApi && { passages: stack.passagesApi }),
    experiments: stack.experiments,
    replicas: replicasOf(config),
    options: {
      bodyLimitBytes,
      maxPassages,
      requestTimeoutMs,
      corsOrigins,
      hosts,
      autoTruncate,
      basePath,
      trustedProxies,
      maxQueryTokens: config.tokenization.maxQueryTokens,
      cascades: config.registry.cascades,
      defaultModel: config.registry.defaultModel,
      bodyTimeoutMs: server.headerTimeoutMs,
      writeTimeoutMs: server.writeTimeoutMs,
      requestsPerMinute: auth.requestsPerMinute,
      passagesPerMinute: auth.passagesPerMinute,
      hstsSeconds: server.hstsSeconds,
    },
    get keys() {
      return keys();
    },
    bytes: watchedBytes(server.inFlightBytes, metrics),
    telemetry,
    readiness,
    extensions: consoleExtensions({ config, stack, metrics, version, keyed }),
    info: () => ({
      version,
      provider: stack.pool.provider,
      hosts: stack.pool.size,
      devices: stack.pool.facts().devices,
      maxBatchTokens: scheduling.batchTokens,
      maxBatchRows: scheduling.batchRows,
      tokenizationWorkers: stack.tokenizerThreads,
      startedAt,
    }),
  };
}

/** Puts HTTP in front of a stack: the listeners hand over what they receive. */
export function openHttp(config: Config, stack: Stack, front: Front, parts: HttpParts): void {
  const deps = httpDeps(config, stack, parts);
  const apps = front.adminUrl === undefined ? { main: createApp(deps) } : createApps(deps);
  front.serve(apps, () => {
    parts.metrics.connectionsDropped.inc();
    stack.scheduler.demand.noteUnread();
  });
}
