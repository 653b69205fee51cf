import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config/config-schema.ts';
import { createApp } from '../http/app.ts';
import { ByteAccount } from '../http/byte-account.ts';
import { type ApiKey, loadKeys, separatesOutcomes } from '../http/keys.ts';
import type { HttpDeps, HttpTelemetry, Readiness } from '../http/ports.ts';
import { createServer } from '../http/server.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import { boundTo } from './bound-to.ts';
import { connectionLimit } from './connection-limit.ts';
import { consoleExtensions } from './console-extensions.ts';
import { type Drain, trackRequests } from './drain.ts';
import type { Stack } from './stack.ts';

interface HttpParts {
  readonly version: string;
  readonly readiness: Readiness;
  readonly telemetry: HttpTelemetry;
  readonly metrics: Metrics;
}

/** Creates the account of bytes in flight; it is read at each scrape. */
function watchedBytes(totalBytes: number, metrics: Metrics): ByteAccount {
  const account = new ByteAccount({ totalBytes });
  metrics.onScrape(() => metrics.bytesInFlight.set(account.held));
  return account;
}

/** Collects the settings and parts of the HTTP layer. */
function httpDeps(config: Config, stack: Stack, { version, readiness, telemetry, metrics }: HttpParts): HttpDeps {
  const { server, auth, scheduling } = config;
  const { bodyLimitBytes, maxPassages, requestTimeoutMs, corsOrigins, hosts, autoTruncate, basePath, trustedProxies } =
    server;
  const startedAt = Date.now();
  const keyed = auth.keysFile !== undefined;
  return {
    reranker: stack.reranker,
    tokenReader: stack.tokenReader,
    registry: stack.registry,
    experiments: stack.experiments,
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
      bodyTimeoutMs: server.headerTimeoutMs,
      writeTimeoutMs: server.writeTimeoutMs,
      requestsPerMinute: auth.requestsPerMinute,
      passagesPerMinute: auth.passagesPerMinute,
    },
    keys: auth.keysFile === undefined ? [] : loadKeys(auth.keysFile),
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

/** Listens. @returns the URL at which this machine reaches the server. */
function listen(server: Server, { host, port }: Config['server']): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...boundTo(host) }, () => {
      server.off('error', reject);
      const { address, port: bound } = server.address() as AddressInfo;
      const reachable = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
      resolve(`http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${bound}`);
    });
  });
}

/** Warns of what is allowed without keys, or by a file of keys from before scope `outcomes`. */
function warnOfAccess(keys: readonly ApiKey[], { telemetry }: HttpParts): void {
  if (keys.length === 0)
    telemetry.logger.warn(
      { setting: 'auth.keysFile' },
      'no keys: every client may score and send outcomes; admin routes answer this machine only',
    );
  else if (!separatesOutcomes(keys))
    telemetry.logger.warn(
      { setting: 'auth.keysFile' },
      'no key has scope outcomes: every key with scope rerank may send outcomes; give the scope to one key to end this',
    );
}

/** Puts HTTP in front of a stack and listens. */
export async function openHttp(
  config: Config,
  stack: Stack,
  parts: HttpParts,
): Promise<{ readonly url: string; readonly drain: Drain }> {
  const { headerTimeoutMs, bodyLimitBytes, keepAliveMs, maxConnections } = config.server;
  const deps = httpDeps(config, stack, parts);
  warnOfAccess(deps.keys, parts);
  const server = createServer(createApp(deps), {
    headerTimeoutMs,
    bodyLimitBytes,
    keepAliveMs,
    maxConnections: connectionLimit(maxConnections),
    onDrop() {
      parts.metrics.connectionsDropped.inc();
      stack.scheduler.demand.noteUnread();
    },
  });
  const drain = trackRequests(server);
  const url = await listen(server, config.server);
  // A connection that the system could not hand over costs that connection, not the service.
  server.on('error', (error) => parts.telemetry.logger.error({ err: error }, 'connection not accepted'));
  return { url, drain };
}
