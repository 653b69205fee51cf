import type { ErrorCode } from '../errors.ts';
import { DIALECTS } from '../http/dialects/dispatch.ts';
import { SCORING_ERRORS } from '../http/openapi/operation-errors.ts';
import { LANES } from '../scheduling/scheduling-types.ts';
import type { Metrics } from '../telemetry/instruments.ts';

/*
 * Series that exist before their first event. Prometheus' `increase()` sees a change only where there was a value before it: a counter that
 * appears with 1 has not increased. Every label set that is known is therefore written with 0.
 */

/** Errors of requests that score: those that the API names, and those of clients that leave or take another method. */
export const SCORING_CODES: readonly ErrorCode[] = [...SCORING_ERRORS, 'client_closed', 'method_not_allowed'];

/** Errors of other routes, in addition to those of scoring; `test/main/known-labels.test.ts` compares all with the operations of the API. */
export const OTHER_CODES: readonly ErrorCode[] = [
  'not_found',
  'invalid_manifest',
  'unsafe_path',
  'hash_mismatch',
  'provider_unavailable',
  'passage_cache_off',
  'unknown_experiment',
  'unknown_request',
  'outcome_conflict',
  'experiment_in_file',
  'invalid_experiments',
  'store_unavailable',
];

/** Statuses of scoring requests that failed. */
const FAILURES = ['400', '401', '403', '404', '408', '413', '415', '422', '424', '429', '499', '500', '503', '504'];

/** Starts the counters whose label sets are known before any model, experiment or request is. */
export function startCounters(metrics: Metrics): void {
  const zero = { value: 0 };
  for (const code of SCORING_CODES) {
    metrics.errors.inc({ labels: { code, dialect: '' }, ...zero });
    for (const { name: dialect } of DIALECTS) metrics.errors.inc({ labels: { code, dialect }, ...zero });
  }
  for (const code of OTHER_CODES) metrics.errors.inc({ labels: { code, dialect: '' }, ...zero });
  for (const reason of ['overloaded', 'expired', 'cancelled'])
    for (const lane of LANES) metrics.shedRows.inc({ reason, lane }, 0);
  for (const event of ['ready', 'restart', 'recycle', 'model_missing']) metrics.hostEvents.inc({ event, cause: '' }, 0);
  for (const cause of ['crashed', 'killed', 'faulty']) metrics.hostEvents.inc({ event: 'lost', cause }, 0);
  for (const reason of ['retry', 'split']) metrics.batchRepeats.inc({ reason }, 0);
  for (const reason of ['buffer_full', 'closed', 'file_lost']) metrics.exposuresLost.inc({ reason }, 0);
  for (const status of ['stored', 'duplicate', 'conflict', 'unknown']) metrics.outcomes.inc({ status }, 0);
  for (const where of ['file', 'database', 'provider', 'clock']) metrics.experimentProblems.inc({ where }, 0);
}

/** Starts the counters of a version that was loaded. */
export function startVersion(metrics: Metrics, served: { readonly model: string; readonly version: string }): void {
  const { pairs, truncatedPassages, truncatedQueries, prunedPassages, prunedTokens, tokens, paddingTokens } = metrics;
  for (const counter of [
    pairs,
    truncatedPassages,
    truncatedQueries,
    prunedPassages,
    prunedTokens,
    tokens,
    paddingTokens,
    metrics.admissionsRefused,
  ])
    counter.inc(served, 0);
  for (const cause of ['replaced', 'request', 'memory', 'removed']) metrics.modelUnloads.inc({ ...served, cause }, 0);
}

/** Why an arm cannot answer, most often: its model is not there, or failed. */
const MISSING: readonly ErrorCode[] = ['unknown_model', 'unknown_version', 'model_refused', 'model_not_ready'];
const FAILED: readonly ErrorCode[] = ['overloaded', 'deadline_exceeded', 'inference_failed', 'host_lost'];

/** Starts the counters of an experiment that came into effect. */
export function startExperiment(
  metrics: Metrics,
  { name: experiment, arms }: { readonly name: string; readonly arms: readonly { readonly name: string }[] },
): void {
  metrics.guardrailTrips.inc({ experiment }, 0);
  metrics.placeholderIds.inc({ experiment }, 0);
  for (const { name: arm } of arms) {
    metrics.armFailures.inc({ experiment, arm, fallback: 'guardrail', code: '' }, 0);
    for (const code of MISSING) metrics.armFailures.inc({ experiment, arm, fallback: 'missing', code }, 0);
    for (const code of FAILED)
      for (const fallback of ['failed', 'none']) metrics.armFailures.inc({ experiment, arm, fallback, code }, 0);
    for (const code of [...MISSING, ...FAILED]) metrics.shadowFailures.inc({ experiment, arm, code }, 0);
  }
}

/** Returns a function that starts the failures of a wire format with its first request. */
export function failureStarter(metrics: Metrics): (dialect: string) => void {
  const seen = new Set<string>();
  return (dialect) => {
    if (seen.has(dialect)) return;
    seen.add(dialect);
    for (const status of FAILURES)
      metrics.requests.inc({ model: '', version: '', dialect, lane: 'interactive', status }, 0);
  };
}
