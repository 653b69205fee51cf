import { flushCompileCache } from 'node:module';
import type { Config } from '../config/config-schema.ts';
import type { Stack } from './stack.ts';

/**
 * Scores one pair through everything that a request uses, loads the models of `registry.preload`, and releases what was opened ahead.
 * @throws WinnowError of registry and re-ranker: the server is not ready then.
 */
export async function warmUp(config: Config, { registry, reranker, closePrefetched }: Stack): Promise<void> {
  const lease = await registry.acquire();
  lease.release();
  // The exact version: a request that names one is outside every experiment.
  const model = `${lease.version.name}@${lease.version.version}`;
  await reranker.rerank({
    requestId: 'warm-up',
    model,
    query: 'ready',
    passages: ['yes'],
    truncate: true,
    lane: 'interactive',
    deadlineMs: config.server.requestTimeoutMs,
  });
  for (const name of config.registry.preload) (await registry.acquire(name)).release();
  await closePrefetched();
  // All code is compiled by now: the next start reads it from the cache, however this process ends. Without a cache this does nothing.
  flushCompileCache();
}
