import type { Config } from '../config/config-schema.ts';
import { unsharedDatabase } from '../experiments/shared-database.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Warns of settings under which several replicas do not work together. */
export function warnOfReplicas({ server, experiments }: Config, logger: Pick<Logger, 'warn'>): void {
  const fault = unsharedDatabase(experiments.database.reveal(), server.replicas);
  if (fault !== undefined)
    logger.warn({ setting: 'experiments.database', replicas: server.replicas }, `experiments would break: ${fault}`);
}
