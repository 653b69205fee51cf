import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Provider } from '@openfeature/server-sdk';
import type { Config } from '../config/config.ts';
import { WinnowError } from '../errors.ts';
import { createExperimentsApi, type ExperimentsApi } from '../experiments/admin.ts';
import type { ArmDecider } from '../experiments/assignment/deciders.ts';
import type { RequestDecision } from '../experiments/assignment/decisions.ts';
import { ExperimentService } from '../experiments/service.ts';
import type { ExperimentHook } from '../rerank/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { observeExperiments } from './observe.ts';

/** Experiments of one server: what the re-ranker asks, what HTTP offers. */
export interface Experiments {
  readonly hook: ExperimentHook<RequestDecision>;
  readonly api: ExperimentsApi;
  /** Reads experiments.yaml and follows it; the database is opened beside. */
  start(): Promise<void>;
  /** Writes what waits. Call it when no request and no shadow is under way any more. */
  close(): Promise<void>;
}

/**
 * Loads the module that a flag system comes from. The SDK is loaded only here: servers without it start sooner.
 * @throws WinnowError `invalid_input` where it has no provider.
 */
async function loadDecider(path: string, observer: ReturnType<typeof observeExperiments>): Promise<ArmDecider> {
  const [{ deciderOf }, module] = await Promise.all([
    import('../experiments/openfeature.ts'),
    import(pathToFileURL(resolve(path)).href) as Promise<{ default?: Provider }>,
  ]);
  const provider = module.default;
  if (typeof provider?.resolveStringEvaluation !== 'function')
    throw new WinnowError('invalid_input', {
      where: path,
      expected: 'a default export that is an OpenFeature provider',
      got: provider === undefined ? 'none' : typeof provider,
    });
  return deciderOf(provider, `winnow ${randomUUID()}`, observer);
}

/**
 * Sets experiments up. Nothing but a flag provider is opened or read before `start`.
 * @param defaultModel the model of requests that name none.
 * @throws WinnowError `invalid_input` for a module without provider, and what the provider throws at its start.
 */
export async function openExperiments(
  config: Config['experiments'],
  { metrics, logger }: { readonly metrics: Metrics; readonly logger: Logger },
  defaultModel: () => string | undefined,
): Promise<Experiments> {
  const { file, database, retentionDays, unitSecret, bufferRows, flagProvider } = config;
  const observer = observeExperiments(metrics, logger);
  const service = new ExperimentService({
    ...{ file, retentionDays, bufferRows, defaultModel, observer },
    ...(flagProvider === undefined ? {} : { decider: await loadDecider(flagProvider, observer) }),
    database: database.reveal(),
    unitSecret: unitSecret.reveal(),
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
