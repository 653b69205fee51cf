import type { Config } from '../config.ts';
import { createExperimentsApi, type ExperimentsApi } from '../experiments/admin.ts';
import type { RequestDecision } from '../experiments/decisions.ts';
import { ExperimentService } from '../experiments/service.ts';
import type { ExperimentHook } from '../rerank/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { observeExperiments } from '../telemetry/observe.ts';

/** Experiments of one server: what the re-ranker asks, what HTTP offers. */
export interface Experiments {
  readonly hook: ExperimentHook<RequestDecision>;
  readonly api: ExperimentsApi;
  /** Reads experiments.yaml and follows it; the database is opened beside. */
  start(): Promise<void>;
  /** Writes what waits. Call it when no request and no shadow is under way any more. */
  close(): Promise<void>;
}

/** Sets experiments up. Nothing is opened or read before `start`. @param defaultModel the model of requests that name none. */
export function openExperiments(
  config: Config['experiments'],
  { metrics, logger }: { readonly metrics: Metrics; readonly logger: Logger },
  defaultModel: () => string | undefined,
): Experiments {
  const { file, database, retentionDays, unitSecret, bufferRows } = config;
  const service = new ExperimentService({
    ...{ file, retentionDays, bufferRows, defaultModel },
    database: database.reveal(),
    unitSecret: unitSecret.reveal(),
    observer: observeExperiments(metrics, logger),
  });
  return {
    hook: {
      decide: (request) => service.decide(request),
      interleave: (decision, request, arms) => service.interleave(decision, request, arms),
      expose: (exposure) => service.expose(exposure),
      shadow: (outcome) => service.shadow(outcome),
    },
    api: createExperimentsApi(service),
    start: () => service.start(),
    close: () => service.close(),
  };
}
