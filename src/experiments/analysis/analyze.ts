import { configHash, type Experiment, summedBy } from '../definitions/definition.ts';
import { definitionHistory } from '../definitions/history.ts';
import { trippedArm } from '../recording/guardrails.ts';
import { SHADOW_FIGURES } from '../recording/shadow-figures.ts';
import type { ArmTraffic, AuditEntry, ExperimentStore } from '../records.ts';
import { type CreditSection, creditOf } from './credit.ts';
import { metricSections } from './metric-sections.ts';
import { periodOf, type Since } from './period.ts';
import { expectedUnits, phasesOf } from './phases.ts';
import { RatioPath } from './ratio-path.ts';
import { ALPHA, type ArmSection, BEFORE_MS, type ExperimentReport } from './report-data.ts';
import { sampleRatio } from './sample-ratio.ts';
import { Tally } from './tally.ts';
import { busyUnit, namelessRequests } from './unit-warnings.ts';
import { verdictOf } from './verdict.ts';

/** Returns the arms that guardrails took out under the definition of `hash`, with the reasons. */
function tripsOf(audits: readonly AuditEntry[], hash: string): ReadonlyMap<string, string> {
  return new Map(
    audits
      .filter(({ action, configHash: of }) => action === 'tripped' && of === hash)
      .flatMap(({ diff }) => {
        const arm = trippedArm(diff);
        return arm === undefined ? [] : [[arm, diff] as const];
      }),
  );
}

function armSections(
  experiment: Experiment,
  tally: Tally,
  traffic: readonly ArmTraffic[],
  trips: ReadonlyMap<string, string>,
): readonly ArmSection[] {
  return experiment.arms.map(({ name, model }) => {
    const seen = traffic.find(({ arm }) => arm === name);
    const tripped = trips.get(name);
    return {
      arm: name,
      model,
      control: name === experiment.control,
      units: tally.units(name),
      requests: seen?.requests ?? 0,
      failed: seen?.failed ?? 0,
      fallbacks: seen?.fallbacks ?? 0,
      ...(seen?.p50Ms === undefined || seen.p95Ms === undefined ? {} : { p50Ms: seen.p50Ms, p95Ms: seen.p95Ms }),
      ...(tripped === undefined ? {} : { tripped }),
    };
  });
}

function warningsOf(
  experiment: Experiment,
  audits: readonly AuditEntry[],
  traffic: readonly ArmTraffic[],
  from: number | undefined,
  tally: Tally,
): string[] {
  const { crossed } = tally;
  const changes = audits.filter(({ action, at }) => action === 'changed' && from !== undefined && at > from);
  return [
    ...(changes.length > 0
      ? [`the definition was changed ${changes.length} time(s) since the first exposure; see its audits`]
      : []),
    ...busyUnit(experiment, tally.load),
    ...namelessRequests(experiment, traffic),
    ...(crossed > 0 ? [`${crossed} unit(s) saw more than one arm and are left out`] : []),
    ...(experiment.mode === 'split'
      ? [...new Set(tally.withoutOutcomes())].map((metric) => `no outcome of ${metric} has come yet`)
      : []),
  ];
}

/** The exposures of a report. */
interface Counted {
  readonly since?: number;
  readonly until?: number;
}

async function tallyUnits(store: ExperimentStore, experiment: Experiment, counted: Counted): Promise<Tally> {
  const tally = new Tally(experiment);
  const range = { beforeMs: BEFORE_MS, ...counted };
  for await (const row of store.units(experiment.name, range)) tally.add(row);
  return tally;
}

async function creditSections(store: ExperimentStore, experiment: Experiment, { since, until }: Counted) {
  const sections: CreditSection[] = [];
  for (const metric of experiment.metrics) {
    const clicks = store.clicks(experiment.name, summedBy(metric), until, since);
    sections.push(await creditOf(experiment, metric.name, clicks, ALPHA));
  }
  return sections;
}

export interface ReportOptions {
  /** Milliseconds since 1970, for the state at an earlier time. */
  readonly until?: number;
  /** When the figures begin; if absent, when an arm was last another model. */
  readonly since?: Since;
}

/** Returns the figures in the order of SHADOW_FIGURES. */
function orderedFigures(figures: ExperimentReport['shadow']): ExperimentReport['shadow'] {
  const order = Object.keys(SHADOW_FIGURES);
  const sorted = (of: ExperimentReport['shadow'][string]) =>
    Object.fromEntries(order.flatMap((figure) => (of[figure] ? [[figure, of[figure]]] : [])));
  return Object.fromEntries(Object.entries(figures).map(([arm, of]) => [arm, sorted(of)]));
}

/**
 * Reads an experiment's data and makes its report. Where the sample ratio is off, figures are given but no winner.
 * @throws the database's error.
 */
export async function analyze(
  store: ExperimentStore,
  experiment: Experiment,
  { until, since: wanted }: ReportOptions = {},
): Promise<ExperimentReport> {
  const { name, mode } = experiment;
  const hash = configHash(experiment);
  const { since, definitions, versions, warnings } = await periodOf(store, experiment, { since: wanted, until });
  const counted = { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) };
  const [audits, traffic] = await Promise.all([store.audits(name), store.traffic(name, until, since)]);
  const isSplit = mode === 'split';
  const tally = await tallyUnits(store, experiment, counted);
  const trips = tripsOf(audits, hash);
  const from = traffic.length > 0 ? Math.min(...traffic.map(({ firstAt }) => firstAt)) : undefined;
  // Weights may have changed: each unit is expected by those of its first exposure.
  const history = definitionHistory(audits, experiment);
  const phases = phasesOf(experiment, tally.firsts, history);
  const armsSeen = experiment.arms
    .map(({ name: arm }) => ({ name: arm, weight: expectedUnits(phases, arm), units: tally.units(arm) }))
    .filter(({ weight }) => weight > 0);
  const path = new RatioPath(experiment, history);
  path.add(tally.firstExposures);
  const ratio = isSplit && armsSeen.length > 1 ? sampleRatio(armsSeen, path.p) : undefined;
  const findings = {
    experiment: name,
    mode,
    configHash: hash,
    alpha: ALPHA,
    ...(from === undefined ? {} : { from, to: Math.max(...traffic.map(({ lastAt }) => lastAt)) }),
    ...(since === undefined ? {} : { since }),
    definitions,
    versions,
    arms: armSections(experiment, tally, traffic, trips),
    crossed: tally.crossed,
    ...(ratio ? { sampleRatio: ratio } : {}),
    metrics: isSplit ? metricSections(experiment, tally, ALPHA) : [],
    credit: mode === 'interleave' ? await creditSections(store, experiment, counted) : [],
    shadow: mode === 'shadow' ? orderedFigures(await store.shadow(name, until, since)) : {},
    warnings: [...warnings, ...warningsOf(experiment, audits, traffic, from, tally)],
  };
  return { ...findings, verdict: verdictOf(experiment, findings) };
}
