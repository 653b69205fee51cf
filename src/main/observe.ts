import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/*
 * What the parts report becomes metrics and log lines here. The events are seen structurally: telemetry imports no part, and no part but HTTP
 * imports telemetry.
 */

/** A finished request; HTTP's `RequestEvent` is one. */
export interface RequestFacts {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  readonly code?: string;
  readonly dialect?: string;
  readonly lane?: string;
  readonly model?: string;
  readonly version?: string;
  readonly experiment?: { readonly name: string; readonly arm: string };
  readonly passages?: number;
  readonly truncated?: number;
  readonly timings?: { readonly tokenizeMs: number; readonly queueMs: number; readonly inferMs: number };
}

/** A key of the hosts in two labels: `name@version`, and `#n` behind it where a version was loaded again. */
export function versionLabels(key: string): { readonly model: string; readonly version: string } {
  const at = key.lastIndexOf('@');
  return at < 0
    ? { model: key, version: '' }
    : { model: key.slice(0, at), version: key.slice(at + 1).replace(/#\d+$/, '') };
}

function observeArm(
  metrics: Metrics,
  { experiment, model = '', version = '', status, durationMs }: RequestFacts,
): void {
  if (!experiment) return;
  const arm = { experiment: experiment.name, arm: experiment.arm };
  metrics.armRequests.inc({ ...arm, model, version, status: String(status) });
  metrics.armSeconds.observe(arm, durationMs / 1000);
}

function observeScoring(metrics: Metrics, facts: RequestFacts, dialect: string): void {
  const { model = '', version = '', lane = '', status, durationMs, passages, truncated, timings } = facts;
  const served = { model, version };
  metrics.requestsInFlight.dec();
  metrics.requests.inc({ ...served, dialect, lane, status: String(status) });
  if (passages !== undefined) metrics.requestPassages.observe({ dialect }, passages);
  observeArm(metrics, facts);
  if (!timings || status >= 400) return;
  metrics.requestSeconds.observe({ ...served, dialect, lane }, durationMs / 1000);
  metrics.tokenizeSeconds.observe(served, timings.tokenizeMs / 1000);
  metrics.queueSeconds.observe({ ...served, lane }, timings.queueMs / 1000);
  metrics.inferSeconds.observe(served, timings.inferMs / 1000);
  metrics.pairs.inc(served, passages ?? 0);
  metrics.truncatedPassages.inc(served, truncated ?? 0);
}

/** What the HTTP part tells: every answer, and scoring requests with their stages. */
export function observeRequests(metrics: Metrics) {
  return {
    onScoringStart: (): void => metrics.requestsInFlight.inc(),
    onRequest(facts: RequestFacts): void {
      const { method, route, status, code, dialect } = facts;
      metrics.httpRequests.inc({ method, route, status: String(status) });
      if (code) metrics.errors.inc({ code, dialect: dialect ?? '' });
      if (dialect) observeScoring(metrics, facts, dialect);
    },
  };
}

/** What the scheduler tells; fits its `SchedulerObserver`. */
export function observeScheduler(metrics: Metrics, provider: () => string) {
  return {
    onBatch(batch: {
      readonly key: string;
      readonly lane: string;
      readonly rows: number;
      readonly tokens: number;
      readonly paddedTokens: number;
      readonly inferMs: number;
    }): void {
      const served = versionLabels(batch.key);
      const where = { ...served, provider: provider() };
      metrics.batchRows.observe(where, batch.rows);
      metrics.batchTokens.observe(where, batch.paddedTokens);
      metrics.batchSeconds.observe({ ...where, lane: batch.lane }, batch.inferMs / 1000);
      metrics.tokens.inc(served, batch.tokens);
      metrics.paddingTokens.inc(served, batch.paddedTokens - batch.tokens);
    },
    onShed: (reason: string, rows: number, lane: string): void => metrics.shedRows.inc({ reason, lane }, rows),
    onQueue({ tokens, rows, jobs }: { readonly tokens: number; readonly rows: number; readonly jobs: number }): void {
      metrics.queueTokens.set(tokens);
      metrics.queueRows.set(rows);
      metrics.queueJobs.set(jobs);
    },
  };
}

/** What happened to an inference host; inference's `PoolEvent` is one. */
export interface HostEvent {
  readonly kind: string;
  readonly host?: number;
  readonly cause?: string;
  readonly line?: string;
}

/** Kinds that tell of a batch, not of a host. */
const REPEATS = ['retry', 'split'];
/** Kinds nobody needs to be told of at three in the morning. */
const QUIET = ['ready', 'recycle'];

/** What the pool of inference hosts tells; fits its `PoolObserver`. */
export function observePool(metrics: Metrics, logger: Logger) {
  return (event: HostEvent): void => {
    if (event.kind === 'output') {
      logger.warn({ host: event.host }, event.line);
      return;
    }
    if (REPEATS.includes(event.kind)) metrics.batchRepeats.inc({ reason: event.kind });
    else metrics.hostEvents.inc({ event: event.kind, cause: event.cause ?? '' });
    logger[QUIET.includes(event.kind) ? 'info' : 'warn'](event, `inference host: ${event.kind}`);
  };
}

/** Reads the pool's facts at each scrape; fits inference's `PoolFacts`. */
export function watchPool(
  metrics: Metrics,
  facts: () => { readonly provider: string; readonly alive: number; readonly rss: readonly number[] },
): void {
  metrics.onScrape(() => {
    const { provider, alive, rss } = facts();
    metrics.hosts.set({ provider }, alive);
    for (const [host, bytes] of rss.entries()) metrics.hostRss.set({ host: String(host) }, bytes);
  });
}

interface Version {
  readonly name: string;
  readonly version: string;
  readonly variant: string;
  readonly provider: string;
}

/** What the registry tells; fits its `RegistryObserver`. */
export function observeRegistry(metrics: Metrics, logger: Logger) {
  const labels = ({ name, version }: { readonly name: string; readonly version: string }) => ({ model: name, version });
  const facts = (v: Version) => ({ ...labels(v), variant: v.variant, provider: v.provider });
  // A version that is loaded again is in memory twice until the old one has finished its work.
  const copies = new Map<string, number>();
  const count = (v: Version, change: number): number => {
    const id = `${v.name}@${v.version}`;
    const now = (copies.get(id) ?? 0) + change;
    copies.set(id, now);
    return now;
  };
  return {
    onLoaded({ version, loadMs, bytes }: { version: Version; loadMs: number; bytes: number }): void {
      count(version, 1);
      metrics.modelLoads.inc(labels(version));
      metrics.modelInfo.set(facts(version), 1);
      metrics.modelBytes.set(labels(version), bytes);
      logger.info({ ...facts(version), loadMs: Math.round(loadMs), bytes }, 'model loaded');
    },
    onRefused(refusal: { name: string; version: string; code: string; reason: string }): void {
      metrics.admissionsRefused.inc(labels(refusal));
      logger.error({ ...labels(refusal), code: refusal.code, reason: refusal.reason }, 'model refused');
    },
    onUnloaded({ version, cause }: { version: Version; cause: string }): void {
      metrics.modelUnloads.inc({ ...labels(version), cause });
      if (count(version, -1) === 0) {
        metrics.modelInfo.remove(facts(version));
        metrics.modelBytes.remove(labels(version));
      }
      logger.info({ ...labels(version), cause }, 'model unloaded');
    },
    onRouted({
      name,
      label,
      from,
      to,
    }: {
      name: string;
      label: string | undefined;
      from: string | undefined;
      to: string;
    }) {
      metrics.modelRoutes.inc({ model: name, version: to, label: label ?? '' });
      logger.info({ model: name, label, from, to }, 'model routed');
    },
    onProblem: (problem: { where: string; reason: string }): void => logger.warn(problem, 'registry problem'),
  };
}

interface AuditedChange {
  readonly who: string;
  readonly experiment: string;
  readonly action: string;
  readonly configHash: string;
  readonly diff: string;
}

interface ShadowTold {
  readonly experiment: string;
  readonly arm: string;
  readonly figures?: Readonly<Record<string, number>>;
  readonly code?: string;
}

/** What experiments tell; fits their `ExperimentObserver`. */
export function observeExperiments(metrics: Metrics, logger: Logger) {
  return {
    onDefinitions({ defined, running }: { readonly defined: number; readonly running: number }): void {
      metrics.experimentsDefined.set({ state: 'running' }, running);
      metrics.experimentsDefined.set({ state: 'idle' }, defined - running);
      logger.info({ defined, running }, 'experiments in effect');
    },
    onChange({ who, experiment, action, configHash, diff }: AuditedChange): void {
      if (action === 'tripped') metrics.guardrailTrips.inc({ experiment });
      logger[action === 'tripped' ? 'warn' : 'info'](
        { who, experiment, action, configHash, diff },
        'experiment changed',
      );
    },
    onProblem(problem: { readonly where: string; readonly reason: string }): void {
      metrics.experimentProblems.inc({ where: problem.where });
      logger.error(problem, 'experiment problem');
    },
    onExposure(exposure: {
      readonly experiment: string;
      readonly arm: string;
      readonly fallback?: string;
      readonly code?: string;
    }): void {
      const { experiment, arm, fallback, code } = exposure;
      if (fallback ?? code)
        metrics.armFailures.inc({ experiment, arm, fallback: fallback ?? 'none', code: code ?? '' });
    },
    onShadow({ experiment, arm, figures = {}, code }: ShadowTold): void {
      if (code) metrics.shadowFailures.inc({ experiment, arm, code });
      for (const [figure, value] of Object.entries(figures))
        metrics.shadowFigures.observe({ experiment, arm, figure }, value);
    },
    onBuffer: (rows: number): void => metrics.exposuresWaiting.set(rows),
    onStored: (rows: number): void => metrics.exposuresStored.inc(rows),
    onLost: (rows: number, reason: string): void => metrics.exposuresLost.inc({ reason }, rows),
    onOutcome: (status: string, count: number): void => metrics.outcomes.inc({ status }, count),
  };
}

/** Reads a cache's own counts at each scrape. */
export function watchCache(
  metrics: Metrics,
  cache: string,
  stats: () => { readonly hits: number; readonly misses: number; readonly bytes: number },
): void {
  let [hits, misses] = [0, 0];
  metrics.onScrape(() => {
    const now = stats();
    metrics.cacheHits.inc({ cache }, now.hits - hits);
    metrics.cacheMisses.inc({ cache }, now.misses - misses);
    metrics.cacheBytes.set({ cache }, now.bytes);
    ({ hits, misses } = now);
  });
}

/** What the process says of itself at each scrape. */
export function watchProcess(
  metrics: Metrics,
  facts: { readonly version: string; readonly provider: string },
  ready: () => boolean,
): void {
  const { version, provider } = facts;
  metrics.info.set({ version, node: process.version, provider }, 1);
  metrics.onScrape(() => metrics.ready.set(ready() ? 1 : 0));
}
