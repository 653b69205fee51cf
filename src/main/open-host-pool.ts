import type { Config } from '../config/config-schema.ts';
import { createHostPool, type SupervisedPool } from '../inference/host-pool.ts';
import type { PoolObserver } from '../inference/pool-observer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { chooseLayout } from './choose-layout.ts';

/** The least limit of a batch, in milliseconds: a busy machine may stop a process for a second. */
const LEAST_LIMIT_MS = 2000;

/**
 * Returns the milliseconds that a batch may run at most: half of the requests' deadline, so that a batch which hangs can run once more on
 * another host and its requests are answered in time.
 */
export function batchLimit({ inference, server }: Pick<Config, 'inference' | 'server'>): number {
  return Math.min(inference.batchTimeoutMs, Math.max(LEAST_LIMIT_MS, server.requestTimeoutMs / 2));
}

/**
 * Starts the inference hosts by the settings. This module imports little, because hosts take longest to start: a server starts them first
 * and loads its other modules meanwhile.
 * @throws WinnowError `provider_unavailable`, `host_lost`.
 */
export async function openHostPool(config: Config, logger: Logger, observe: PoolObserver): Promise<SupervisedPool> {
  const { provider, device, maxRssBytes } = config.inference;
  const layout = await chooseLayout(config, logger);
  return createHostPool({ provider, ...layout, device, maxRssBytes, batchTimeoutMs: batchLimit(config) }, observe);
}
