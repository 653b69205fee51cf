import type { Config } from '../config/config-schema.ts';
import { createHostPool, type SupervisedPool } from '../inference/host-pool.ts';
import type { PoolObserver } from '../inference/pool-observer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { chooseLayout } from './choose-layout.ts';

/**
 * Starts the inference hosts by the settings. This module imports little, because hosts take longest to start: a server starts them first
 * and loads its other modules meanwhile.
 * @throws WinnowError `provider_unavailable`, `host_lost`.
 */
export async function openHostPool(config: Config, logger: Logger, observe: PoolObserver): Promise<SupervisedPool> {
  const { provider, device, maxRssBytes, batchTimeoutMs } = config.inference;
  const layout = await chooseLayout(config, logger);
  return createHostPool({ provider, ...layout, device, maxRssBytes, batchTimeoutMs }, observe);
}
