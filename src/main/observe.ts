import type { ExperimentObserver } from '../experiments/ports.ts';
import type { BatchCounts, HttpTelemetry, RequestEvent } from '../http/ports.ts';
import type { PoolEvent, PoolObserver } from '../inference/pool-observer.ts';
import type { RegistryObserver, ServedVersion } from '../registry/registry-types.ts';
import type { RerankObserver } from '../rerank/rerank-types.ts';
import type { SchedulerObserver } from '../scheduling/scheduling-types.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { BusyHosts } from './busy-hosts.ts';
import { failureStarter, startCounters, startExperiment, startVersion } from './known-labels.ts';

/* Turns what the parts report into metrics and log lines. */

/** Splits a key of the hosts into labels: `name@version`, followed by `#n` where a version was loaded again, and `~early` for early scores. */
export function versionLabels(key: string): { readonly model: string; readonly version: string } {
  const at = key.lastIndexOf('@');
  return at < 0
    ? { model: key, version: '' }
    : { model: key.slice(0, at), version: key.slice(at + 1).replace(/#\d+(?=~|$)/, '') };
}

/** The exemplar of a request whose trace is recorded. */
const traceOf = ({ traceId }: RequestEvent) => (traceId ? { exemplarLabels: { trace_id: traceId } } : {});

function observeArm(metrics: Metrics, event: RequestEvent): void {
  const { experiment, model = '', version = '', status, durationMs } = event;
  if (!experiment) return;
  const arm = { experiment: experiment.name, arm: experiment.arm };
  metrics.armRequests.inc({ ...arm, model, version, status: String(status) });
  metrics.armSeconds.observe({ labels: arm, value: durationMs / 1000, ...traceOf(event) });
}

function observeScoring(metrics: Metrics, event: RequestEvent, dialect: string): void {
  const {
    model = '',
    version = '',
    lane = '',
    status,
    durationMs,
    passages,
    truncated,
    queryTruncated,
    pruned,
    timings,
  } = event;
  const served = { model, version };
  metrics.requestsInFlight.dec();
  metrics.requests.inc({ ...served, dialect, lane, status: String(status) });
  if (passages !== undefined) metrics.requestPassages.observe({ dialect }, passages);
  observeArm(metrics, event);
  if (!timings || status >= 400) return;
  const trace = traceOf(event);
  metrics.requestSeconds.observe({ labels: { ...served, dialect, lane }, value: durationMs / 1000, ...trace });
  metrics.tokenizeSeconds.observe({ labels: served, value: timings.tokenizeMs / 1000, ...trace });
  metrics.queueSeconds.observe({ labels: { ...served, lane }, value: timings.queueMs / 1000, ...trace });
  metrics.inferSeconds.observe({ labels: served, value: timings.inferMs / 1000, ...trace });
  metrics.pairs.inc(served, passages ?? 0);
  metrics.truncatedPassages.inc(served, truncated ?? 0);
  metrics.truncatedQueries.inc(served, queryTruncated ? 1 : 0);
  metrics.prunedPassages.inc(served, pruned?.passages ?? 0);
  metrics.prunedTokens.inc(served, pruned?.tokens ?? 0);
}

/** Counts every HTTP request, and scoring requests with the durations of their stages. */
export function observeRequests(metrics: Metrics): Required<Pick<HttpTelemetry, 'onScoringStart' | 'onRequest'>> {
  startCounters(metrics);
  const startFailures = failureStarter(metrics);
  return {
    onScoringStart: () => metrics.requestsInFlight.inc(),
    onRequest(event) {
      const { method, route, status, code, dialect } = event;
      metrics.httpRequests.inc({ method, route, status: String(status) });
      if (code) metrics.errors.inc({ labels: { code, dialect: dialect ?? '' }, value: 1, ...traceOf(event) });
      if (!dialect) return;
      startFailures(dialect);
      observeScoring(metrics, event, dialect);
    },
  };
}

/** Returns whether a scoring request was refused for lack of memory before its body was read. Limits of a key are no lack of capacity. */
export function isRefusedUnread({ dialect, code, passages }: RequestEvent): boolean {
  return dialect !== undefined && code === 'too_many_bytes' && passages === undefined;
}

/** Counts batches, padding, shed rows and the queue of the scheduler, and the work of `hosts` hosts. */
export function observeScheduler(
  metrics: Metrics,
  provider: () => string,
  deviceOf: (host: number) => string = () => '',
  hosts = 0,
): Required<SchedulerObserver> {
  const placeOf = (host: number) => ({ host: String(host), device: deviceOf(host) });
  for (let host = 0; host < hosts; host++) {
    metrics.hostBatches.inc(placeOf(host), 0);
    metrics.hostBusySeconds.inc(placeOf(host), 0);
  }
  const busy = new BusyHosts(hosts);
  metrics.onScrape(() => {
    for (const [host, ratio] of busy.ratios().entries()) metrics.hostBusy.set(placeOf(host), ratio);
  });
  return {
    onBatch({ key, lane, rows, tokens, paddedTokens, inferMs, host }) {
      const place = placeOf(host);
      busy.add(host, inferMs);
      metrics.hostBatches.inc(place);
      metrics.hostBusySeconds.inc(place, inferMs / 1000);
      const served = versionLabels(key);
      const labels = { ...served, provider: provider() };
      metrics.batchRows.observe(labels, rows);
      metrics.batchTokens.observe(labels, paddedTokens);
      metrics.batchSeconds.observe({ ...labels, lane }, inferMs / 1000);
      metrics.tokens.inc(served, tokens);
      metrics.paddingTokens.inc(served, paddedTokens - tokens);
    },
    onShed: (reason, rows, lane) => metrics.shedRows.inc({ reason, lane }, rows),
    onQueue({ tokens, rows, jobs }) {
      metrics.queueTokens.set(tokens);
      metrics.queueRows.set(rows);
      metrics.queueJobs.set(jobs);
    },
  };
}

/** Returns how many batches and rows the engine has run, by `model@version`. */
export async function countBatches(metrics: Metrics): Promise<ReadonlyMap<string, BatchCounts>> {
  const counts = new Map<string, BatchCounts>();
  for (const { labels, metricName, value } of (await metrics.batchRows.get()).values) {
    const id = `${labels.model}@${labels.version}`;
    const { batches, rows } = counts.get(id) ?? { batches: 0, rows: 0 };
    if (metricName?.endsWith('_sum')) counts.set(id, { batches, rows: rows + value });
    if (metricName?.endsWith('_count')) counts.set(id, { batches: batches + value, rows });
  }
  return counts;
}

/** Events of normal operation, which are logged as information. */
const NORMAL: ReadonlySet<PoolEvent['kind']> = new Set<PoolEvent['kind']>(['ready', 'recycle']);

/** Counts and logs the events of the pool of inference hosts. */
export function observePool(metrics: Metrics, logger: Logger): PoolObserver {
  return (event) => {
    const { kind } = event;
    if (kind === 'output') {
      logger.warn({ host: event.host }, event.line);
      return;
    }
    if (kind === 'retry' || kind === 'split') metrics.batchRepeats.inc({ reason: kind });
    else metrics.hostEvents.inc({ event: kind, cause: kind === 'lost' ? event.cause : '' });
    logger[NORMAL.has(kind) ? 'info' : kind === 'outage' ? 'error' : 'warn'](event, `inference host: ${kind}`);
  };
}

type ShownVersion = Pick<ServedVersion, 'name' | 'version' | 'variant' | 'provider'>;

/** Counts and logs loads, refusals, unloads and routes of the registry, and traces loads. */
export function observeRegistry(
  metrics: Metrics,
  logger: Logger,
  tracing?: Pick<Tracing, 'record'>,
): Required<Omit<RegistryObserver, 'onScanned'>> {
  const labels = ({ name, version }: Pick<ShownVersion, 'name' | 'version'>) => ({ model: name, version });
  const facts = (v: ShownVersion) => ({ ...labels(v), variant: v.variant, provider: v.provider });
  // A version that is loaded again is in memory twice until the old copy has finished its work.
  const copies = new Map<string, number>();
  const countCopies = ({ name, version }: ShownVersion, change: number): number => {
    const key = `${name}@${version}`;
    const count = (copies.get(key) ?? 0) + change;
    copies.set(key, count);
    return count;
  };
  return {
    onLoaded({ version, loadMs, bytes }) {
      countCopies(version, 1);
      startVersion(metrics, labels(version));
      metrics.modelLoadSeconds.observe(loadMs / 1000);
      metrics.modelLoads.inc(labels(version));
      metrics.modelInfo.set(facts(version), 1);
      metrics.modelBytes.set(labels(version), bytes);
      const now = Date.now();
      tracing?.record('model load', now - loadMs, now, {
        'winnow.model': version.name,
        'winnow.version': version.version,
        'winnow.variant': version.variant,
        'winnow.bytes': bytes,
      });
      const { rewrite } = version;
      logger.info({ ...facts(version), loadMs: Math.round(loadMs), bytes, rewrite }, 'model loaded');
      for (const warning of version.warnings) logger.warn({ ...labels(version), warning }, 'model warning');
    },
    onGrown({ version, bytes }) {
      metrics.modelBytes.set(labels(version), bytes);
    },
    onRefused(refusal) {
      metrics.admissionsRefused.inc(labels(refusal));
      logger.error({ ...labels(refusal), code: refusal.code, reason: refusal.reason }, 'model refused');
    },
    onUnloaded({ version, cause }) {
      metrics.modelUnloads.inc({ ...labels(version), cause });
      if (countCopies(version, -1) === 0) {
        metrics.modelInfo.remove(facts(version));
        metrics.modelBytes.remove(labels(version));
      }
      logger.info({ ...labels(version), cause }, 'model unloaded');
    },
    onRouted({ name, label, from, to }) {
      metrics.modelRoutes.inc({ model: name, version: to, label: label ?? '' });
      logger.info({ model: name, label, from, to }, 'model routed');
    },
    onProblem: (problem) => logger.warn(problem, 'registry problem'),
  };
}

/** Counts and logs what experiments report. */
export function observeExperiments(metrics: Metrics, logger: Logger): Required<ExperimentObserver> {
  const seen = new Set<string>();
  return {
    onPlaceholder({ experiment, id }) {
      metrics.placeholderIds.inc({ experiment });
      const key = `${experiment} ${id}`;
      if (seen.has(key)) return;
      seen.add(key);
      logger.warn({ experiment, id }, 'requests have an id that counts as none');
    },
    onDefinitions({ defined, running, off = 0, definitions = [] }) {
      for (const definition of definitions) startExperiment(metrics, definition);
      metrics.experimentsDefined.set({ state: 'running' }, running);
      metrics.experimentsDefined.set({ state: 'idle' }, defined - running - off);
      metrics.experimentsDefined.set({ state: 'off' }, off);
      if (off > 0) logger.warn({ defined, off }, 'experiments are off until the database answers; it is tried again');
      else logger.info({ defined, running }, 'experiments in effect');
    },
    onChange({ who, experiment, action, configHash, diff }) {
      if (action === 'tripped') metrics.guardrailTrips.inc({ experiment });
      logger[action === 'tripped' ? 'warn' : 'info'](
        { who, experiment, action, configHash, diff },
        'experiment changed',
      );
    },
    onEffect: (effect) => logger.warn(effect, 'the change of an experiment has effects'),
    onProblem(problem) {
      metrics.experimentProblems.inc({ where: problem.where });
      logger.error(problem, 'experiment problem');
    },
    onExposure({ experiment, arm, fallback, code }) {
      if (fallback ?? code)
        metrics.armFailures.inc({ experiment, arm, fallback: fallback ?? 'none', code: code ?? '' });
    },
    onShadow({ experiment, arm, figures = {}, code }) {
      if (code) metrics.shadowFailures.inc({ experiment, arm, code });
      for (const [figure, value] of Object.entries(figures))
        metrics.shadowFigures.observe({ experiment, arm, figure }, value);
    },
    onBuffer: (rows) => metrics.exposuresWaiting.set(rows),
    onStored: (rows) => metrics.exposuresStored.inc(rows),
    onLost: (rows, reason) => metrics.exposuresLost.inc({ reason }, rows),
    onOutcome: (status, count) => metrics.outcomes.inc({ status }, count),
  };
}

/** Logs once for each arm and version that the instruction of the arm has no effect. */
export function instructionNotes(logger: Logger): NonNullable<RerankObserver['onInstructionIgnored']> {
  const noted = new Set<string>();
  return ({ arm, model, version }) => {
    const key = JSON.stringify([arm, model, version]);
    if (noted.has(key) || noted.size >= MOST_NOTES) return;
    noted.add(key);
    logger.warn({ arm, model, version }, 'the instruction of an arm has no effect: its model has no template for it');
  };
}

const MOST_NOTES = 1000;
