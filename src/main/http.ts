import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config.ts';
import { loadKeys } from '../http/keys.ts';
import type { HttpDeps, HttpTelemetry, Readiness } from '../http/ports.ts';
import type { Engine } from './engine.ts';

/** The settings and parts of the HTTP layer. */
export function httpDeps(
  config: Config,
  engine: Engine,
  about: { readonly version: string; readonly readiness: Readiness; readonly telemetry: HttpTelemetry },
): HttpDeps {
  const { server, auth, scheduling } = config;
  const { bodyLimitBytes, maxPassages, requestTimeoutMs, corsOrigins, autoTruncate, trustedProxies } = server;
  const { version, readiness, telemetry } = about;
  const startedAt = Date.now();
  return {
    reranker: engine.reranker,
    registry: engine.registry,
    options: {
      ...{ bodyLimitBytes, maxPassages, requestTimeoutMs, corsOrigins, autoTruncate, trustedProxies },
      bodyTimeoutMs: server.headerTimeoutMs,
      requestsPerMinute: auth.requestsPerMinute,
    },
    keys: auth.keysFile === undefined ? [] : loadKeys(auth.keysFile),
    telemetry,
    readiness,
    info: () => ({
      version,
      provider: engine.pool.provider,
      hosts: engine.pool.size,
      maxBatchTokens: scheduling.batchTokens,
      maxBatchRows: scheduling.batchRows,
      tokenizationWorkers: engine.tokenizerThreads,
      startedAt,
    }),
  };
}

/** Listens, and tells the address under which this machine reaches it. */
export function listen(server: Server, { host, port }: Config['server']): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const { address, port: bound } = server.address() as AddressInfo;
      const reachable = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
      resolve(`http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${bound}`);
    });
  });
}
