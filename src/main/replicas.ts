import { hostname } from 'node:os';
import type { Config } from '../config/config-schema.ts';
import { unsharedDatabase } from '../experiments/shared-database.ts';
import type { Replicas } from '../http/ports.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Returns what answers to changes say of the other processes. The name of a pod is that of its machine. */
export const replicasOf = ({ server, registry, experiments }: Config): Replicas => ({
  count: server.replicas,
  instance: hostname(),
  watchesFolder: registry.watch,
  sharesExperiments: unsharedDatabase(experiments.database.reveal(), server.replicas) === undefined,
});

/** Warns of settings under which several replicas do not work together. */
export function warnOfReplicas({ server, experiments, auth }: Config, logger: Pick<Logger, 'warn'>): void {
  const fault = unsharedDatabase(experiments.database.reveal(), server.replicas);
  if (fault !== undefined)
    logger.warn({ setting: 'experiments.database', replicas: server.replicas }, `experiments would break: ${fault}`);
  const limits = ['requestsPerMinute', 'passagesPerMinute'] as const;
  for (const limit of limits.filter((name) => server.replicas > 1 && auth[name] > 0))
    logger.warn(
      { setting: `auth.${limit}`, replicas: server.replicas },
      `auth.${limit} holds in each of ${server.replicas} replicas: a client may get up to ${server.replicas * auth[limit]} a minute from all of them`,
    );
}
