import { flushCompileCache } from 'node:module';
import type { Config } from '../config/config-schema.ts';
import { within } from '../util/within.ts';
import { preloadedModels } from './preloaded.ts';
import type { Stack } from './stack.ts';

/** Milliseconds for which readiness waits for kept passages. */
const PASSAGES_MS = 5000;

let checks = 0;

/**
 * Scores one pair by the default model through everything that a request uses.
 * @throws WinnowError of registry and re-ranker: the server is not ready then.
 */
export async function checkInference(
  { registry, reranker }: Stack,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const lease = await registry.acquire();
  lease.release();
  signal?.throwIfAborted();
  // The exact version: a request that names one is outside every experiment. Another text each time: no cache may answer it.
  await reranker.rerank({
    requestId: 'readiness',
    model: `${lease.version.name}@${lease.version.version}`,
    query: 'ready',
    passages: [`yes ${++checks}`],
    truncate: true,
    lane: 'interactive',
    isCheck: true,
    deadlineMs,
    ...(signal ? { signal } : {}),
  });
}

/**
 * Does the first inference, loads further models (`preloadedModels`), and releases what was opened ahead.
 * @throws WinnowError of registry and re-ranker.
 */
export async function warmUp(config: Config, stack: Stack): Promise<void> {
  await checkInference(stack, config.server.requestTimeoutMs);
  for (const name of preloadedModels(config)) (await stack.registry.acquire(name)).release();
  await stack.closePrefetched();
  // Requests may find passages kept from the start; a large file is read on after that.
  await within(PASSAGES_MS, stack.passagesLoaded(), () => new Error('late')).catch(() => undefined);
  // All code is compiled by now: the next start reads it from the cache, however this process ends. Without a cache this does nothing.
  flushCompileCache();
}
