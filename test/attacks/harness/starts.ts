import type { ServerProcess } from '../../../bench/load/server.ts';
import type { Target } from './drill.ts';

/** Starts servers and stops all of them at the end. */
export function trackStarts(start: Target['start']): { readonly start: Target['start']; stopAll(): Promise<void> } {
  const started: ServerProcess[] = [];
  return {
    async start(options) {
      const server = await start(options);
      started.push(server);
      return server;
    },
    async stopAll() {
      await Promise.all(started.map((server) => server.stop()));
    },
  };
}
