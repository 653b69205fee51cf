import type { Server, ServerResponse } from 'node:http';
import { Server as NetServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface Drain {
  /** Returns the number of requests that are being answered. */
  readonly inFlight: () => number;
  /**
   * Accepts no new connections, answers accepted requests, then closes every connection. A client that keeps its connection open may send
   * until it gets `connection: close` or `graceMs` is over.
   * @returns requests that were cut off at `timeoutMs`; 0 is a clean end.
   */
  run(timeoutMs: number, graceMs?: number): Promise<number>;
}

/** Tracks a server's requests, so that it can close without losing one. Call it before the server listens. */
export function trackRequests(server: Server): Drain {
  const open = new Set<ServerResponse>();
  let idle = Promise.withResolvers<void>();
  idle.resolve();
  server.prependListener('request', (_request, response: ServerResponse) => {
    if (open.size === 0) idle = Promise.withResolvers<void>();
    open.add(response);
    response.once('close', () => {
      open.delete(response);
      if (open.size === 0) idle.resolve();
    });
  });
  const settled = async (): Promise<void> => {
    while (open.size > 0) await idle.promise;
  };
  return {
    inFlight: () => open.size,
    async run(timeoutMs, graceMs = 300) {
      // http's own close would cut idle connections at once, and with them requests that are on their way.
      NetServer.prototype.close.call(server);
      const timer = new AbortController();
      const limit = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => {});
      await Promise.race([Promise.all([settled(), delay(Math.min(graceMs, timeoutMs))]).then(settled), limit]);
      timer.abort();
      const lost = open.size;
      server.closeIdleConnections();
      server.closeAllConnections();
      // Stops http's timer for slow clients. It reports that the listening socket is closed already, hence the empty callback.
      server.close(() => {});
      return lost;
    },
  };
}
