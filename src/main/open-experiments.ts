import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Provider } from '@openfeature/server-sdk';
import type { Config } from '../config/config-schema.ts';
import { WinnowError } from '../errors.ts';
import type { ArmDecider } from '../experiments/assignment/deciders.ts';
import type { RequestDecision } from '../experiments/assignment/decisions.ts';
import { ExperimentService } from '../experiments/experiment-service.ts';
import { createExperimentsApi, type ExperimentsApi } from '../experiments/experiments-api.ts';
import type { ExperimentHook } from '../experiments/ports.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ReadResult } from '../util/watched-file.ts';
import { observeExperiments } from './observe.ts';

/** The experiments of one server. */
export interface Experiments {
  /** For the re-ranker. */
  readonly hook: ExperimentHook<RequestDecision>;
  /** For HTTP. */
  readonly api: ExperimentsApi;
  /** Reads experiments.yaml and begins to watch it; the database is opened meanwhile. */
  start(): Promise<void>;
  /** Reads experiments.yaml again. Never rejects. */
  reload(): Promise<ReadResult>;
  /** Writes waiting exposures and closes the database. Call it when no request and no shadow is in progress. */
  close(): Promise<void>;
}

/**
 * Loads the module whose default export is an OpenFeature provider. The SDK is loaded only here: servers without it start sooner.
 * @throws WinnowError `invalid_input` where the module has no provider.
 */
async function loadDecider(path: string, observer: ReturnType<typeof observeExperiments>): Promise<ArmDecider> {
  const [{ providerDecider }, module] = await Promise.all([
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
  return providerDecider(provider, `winnow ${randomUUID()}`, observer);
}

/**
 * Creates the experiments of a server. Before `start` nothing but a flag provider is opened or read.
 * @param defaultModel returns the model that answers requests which name none.
 * @throws WinnowError `invalid_input` for a module without provider, and the provider's own error if it fails to start.
 */
export async function openExperiments(
  config: Config['experiments'],
  { metrics, logger }: { readonly metrics: Metrics; readonly logger: Logger },
  defaultModel: () => string | undefined,
): Promise<Experiments> {
  const { file, database, databaseTimeoutMs, retentionDays, unitSecret, bufferRows, flagProvider, placeholderIds } =
    config;
  const observer = observeExperiments(metrics, logger);
  const service = new ExperimentService({
    file,
    databaseTimeoutMs,
    retentionDays,
    bufferRows,
    placeholderIds,
    defaultModel,
    observer,
    ...(flagProvider === undefined ? {} : { decider: await loadDecider(flagProvider, observer) }),
    database: database.reveal(),
    unitSecret: unitSecret.reveal(),
  });
  return {
    hook: service,
    api: createExperimentsApi(service),
    start: () => service.start(),
    reload: () => service.reload(),
    close: () => service.close(),
  };
}
