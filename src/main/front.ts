import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config/config-schema.ts';
import { createServer } from '../http/server.ts';
import { answerWhileStarting } from '../http/starting.ts';
import type { Logger } from '../telemetry/logger.ts';
import { boundTo } from './bound-to.ts';
import { connectionLimit } from './connection-limit.ts';
import { type Drain, trackRequests } from './drain.ts';

/** The listeners of a server. They answer probes from the first moment, and everything once they have their apps. */
export interface Front {
  /** At which this machine reaches the server. */
  readonly url: string;
  /** The same of the listener for operators, where it has a port of its own. */
  readonly adminUrl: string | undefined;
  /** Hands requests to the apps from now on. @param onDrop is called for each connection that the limit refuses. */
  serve(apps: Apps, onDrop: () => void): void;
  readonly drain: Drain;
  /** Closes the listeners at once. Does nothing after a drain. */
  close(): void;
}

interface Apps {
  readonly main: RequestListener;
  readonly admin?: RequestListener | undefined;
}

interface Listener {
  readonly url: string;
  readonly server: Server;
  readonly drain: Drain;
  handler: RequestListener;
}

/** Listens. @returns the URL at which this machine reaches the server. */
function listen(server: Server, host: string, port: number): Promise<string> {
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

async function openListener(
  settings: Config['server'],
  port: number,
  starting: RequestListener,
  logger: Logger,
  onDrop: () => void,
): Promise<Listener> {
  const { host, headerTimeoutMs, bodyLimitBytes, keepAliveMs, maxConnections } = settings;
  const server = createServer((req, res) => listener.handler(req, res), {
    headerTimeoutMs,
    bodyLimitBytes,
    keepAliveMs,
    maxConnections: connectionLimit(maxConnections),
    onDrop,
  });
  const drain = trackRequests(server);
  const listener: Listener = { server, handler: starting, drain, url: await listen(server, host, port) };
  // A connection that the system could not hand over costs that connection, not the service.
  server.on('error', (error) => logger.error({ err: error }, 'connection not accepted'));
  return listener;
}

/** Drains all at the same time. */
const drainAll = (drains: readonly Drain[]): Drain => ({
  inFlight: () => drains.reduce((sum, drain) => sum + drain.inFlight(), 0),
  async run(...limits) {
    const lost = await Promise.all(drains.map((drain) => drain.run(...limits)));
    return lost.reduce((sum, count) => sum + count, 0);
  },
});

/**
 * Begins to listen, so that probes are answered while models are fetched and hosts start.
 * @param waitsFor returns what the start waits for.
 * @throws the system's error where an address is not free. Nothing listens then.
 */
export async function openFront(settings: Config['server'], logger: Logger, waitsFor: () => string): Promise<Front> {
  const { port, adminPort, basePath } = settings;
  const starting = answerWhileStarting(basePath, waitsFor);
  let dropped = () => {};
  const open = (at: number) => openListener(settings, at, starting, logger, () => dropped());
  const main = await open(port);
  const close = (listeners: readonly Listener[]) => {
    for (const { server } of listeners) if (server.listening) server.close().closeAllConnections();
  };
  try {
    const admin = adminPort === undefined ? undefined : await open(adminPort);
    const all = admin ? [main, admin] : [main];
    return {
      url: main.url,
      adminUrl: admin?.url,
      serve(apps, onDrop) {
        dropped = onDrop;
        main.handler = apps.main;
        if (admin && apps.admin) admin.handler = apps.admin;
      },
      drain: drainAll(all.map(({ drain }) => drain)),
      close: () => close(all),
    };
  } catch (error) {
    close([main]);
    throw error;
  }
}
