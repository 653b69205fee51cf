import type { Config } from '../config/config-schema.ts';
import { choosesDevice } from '../inference/host-layout.ts';
import { createHostPool, type SupervisedPool } from '../inference/host-pool.ts';
import type { PoolObserver } from '../inference/pool-observer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type HostPlan, planHosts } from './plan-hosts.ts';

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
 * @param program Path of the hosts' program, for measurements without an engine.
 * @param planned Their number and limits; planned here if absent.
 * @throws WinnowError `provider_unavailable`, `host_lost`.
 */
export async function openHostPool(
  config: Config,
  logger: Logger,
  observe: PoolObserver,
  program?: string,
  planned: Promise<HostPlan> = planHosts(config, logger),
): Promise<SupervisedPool> {
  const { provider, device, outageGraceMs } = config.inference;
  const devices = [device].flat();
  const { hosts, threads, maxRssBytes, replacesInPlace } = await planned;
  const settings = {
    provider,
    hosts,
    threads,
    devices,
    maxRssBytes,
    replacesInPlace,
    outageGraceMs,
    batchTimeoutMs: batchLimit(config),
    program,
  };
  const pool = await createHostPool(settings, observe);
  if (!choosesDevice(pool.provider) && (devices.length > 1 || devices[0] !== 0))
    logger.warn(
      { setting: 'inference.device', devices, provider: pool.provider },
      'no effect: the provider cannot choose between devices',
    );
  return pool;
}
