import { configHash, type Experiment, summedBy } from '../definitions/definition.ts';
import { trippedArm } from '../recording/guardrails.ts';
import { SHADOW_FIGURES } from '../recording/shadow-figures.ts';
import type { ArmTraffic, AuditEntry, ExperimentStore } from '../records.ts';
import { correctedCredit, creditOf, type UncorrectedCredit } from './credit.ts';
import { type Figures, readFigures } from './figures.ts';
import { metricSections } from './metric-sections.ts';
import type { Since } from './period.ts';
import { ALPHA, type ArmSection, type ExperimentReport } from './report-data.ts';
import { type SampleRatio, sampleRatio } from './sample-ratio.ts';
import type { Tally } from './tally.ts';
import { busyUnit, namelessRequests } from './unit-warnings.ts';
import { verdictOf } from './verdict.ts';
import { plannedArms, weightGroups } from './weights.ts';

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
  { audits, traffic, tally, load }: Figures,
  from: number | undefined,
): string[] {
  const { crossed } = tally;
  const changes = audits.filter(({ action, at }) => action === 'changed' && from !== undefined && at > from);
  return [
    ...(changes.length > 0
      ? [`the definition was changed ${changes.length} time(s) since the first exposure; see its audits`]
      : []),
    ...busyUnit(experiment, load),
    ...namelessRequests(experiment, traffic),
    ...(crossed > 0 ? [`${crossed} unit(s) saw more than one arm and are left out`] : []),
    ...(experiment.mode === 'split'
      ? [...new Set(tally.withoutOutcomes())].map((metric) => `no outcome of ${metric} has come yet`)
      : []),
  ];
}

/** Returns the newest definition with exposures in the period, where weights changed in it. */
function weightsSinceOf(
  experiment: Experiment,
  { period: { since, definitions }, history }: Figures,
): string | undefined {
  const hashes = definitions
    .filter(({ lastAt }) => since === undefined || lastAt >= since)
    .toSorted((a, b) => a.lastAt - b.lastAt)
    .map(({ configHash: hash }) => hash);
  return weightGroups(experiment, hashes, history).length > 1 ? hashes.at(-1) : undefined;
}

/** A smaller share of units that changed arm is left out without consequence. */
const FEW_CROSSED = 0.01;

/**
 * Says whether units that changed arm with the weights are too many. They are those that came back: leaving them out takes more of the
 * faithful units from the arm that shrank than from the other.
 */
function reshuffledBy(
  { tally, load }: Figures,
  weightsSince: string | undefined,
): Pick<ExperimentReport, 'reshuffled'> {
  const share = tally.crossed / Math.max(1, load.units);
  return weightsSince === undefined || share <= FEW_CROSSED ? {} : { reshuffled: { share, configHash: weightsSince } };
}

async function creditSections(
  store: ExperimentStore,
  experiment: Experiment,
  since: number | undefined,
  until: number | undefined,
) {
  const sections: UncorrectedCredit[] = [];
  for (const metric of experiment.metrics) {
    const clicks = store.clicks(experiment.name, summedBy(metric), until, since);
    sections.push(await creditOf(experiment, metric.name, clicks, ALPHA));
  }
  return correctedCredit(sections);
}

export interface ReportOptions {
  /** Milliseconds since 1970, for the state at an earlier time. */
  readonly until?: number | undefined;
  /** When the figures begin; if absent, when an arm was last another model. */
  readonly since?: Since | undefined;
}

/** Returns the figures in the order of SHADOW_FIGURES. */
function orderedFigures(figures: ExperimentReport['shadow']): ExperimentReport['shadow'] {
  const order = Object.keys(SHADOW_FIGURES);
  const sorted = (of: ExperimentReport['shadow'][string]) =>
    Object.fromEntries(order.flatMap((figure) => (of[figure] ? [[figure, of[figure]]] : [])));
  return Object.fromEntries(Object.entries(figures).map(([arm, of]) => [arm, sorted(of)]));
}

/** Tests the units by the arm and the weights of their first exposure; also those that saw another arm later. */
function ratioOf(experiment: Experiment, { tally, history, ratioP }: Figures): SampleRatio | undefined {
  const arms = plannedArms(experiment, tally.firsts, history).filter(({ weight }) => weight > 0);
  return arms.length > 1 ? sampleRatio(arms, ratioP) : undefined;
}

/**
 * Reads an experiment's data and makes its report. Where the sample ratio is off, figures are given but no winner.
 * @param figures those of units and requests, where they are known already.
 * @throws the database's error.
 */
export async function analyze(
  store: ExperimentStore,
  experiment: Experiment,
  options: ReportOptions = {},
  figures?: Figures,
): Promise<ExperimentReport> {
  const { name, mode } = experiment;
  const { until } = options;
  const hash = configHash(experiment);
  const known = figures ?? (await readFigures(store, experiment, options));
  const { audits, traffic, tally } = known;
  const { since, definitions, versions, warnings } = known.period;
  const isSplit = mode === 'split';
  const trips = tripsOf(audits, hash);
  const from = traffic.length > 0 ? Math.min(...traffic.map(({ firstAt }) => firstAt)) : undefined;
  const ratio = isSplit ? ratioOf(experiment, known) : undefined;
  const weightsSince = isSplit ? weightsSinceOf(experiment, known) : undefined;
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
    ...reshuffledBy(known, weightsSince),
    ...(ratio ? { sampleRatio: ratio } : {}),
    metrics: isSplit ? metricSections(experiment, tally, ALPHA, known.history) : [],
    credit: mode === 'interleave' ? await creditSections(store, experiment, since, until) : [],
    shadow: mode === 'shadow' ? orderedFigures(await store.shadow(name, until, since)) : {},
    warnings: [...warnings, ...warningsOf(experiment, known, from)],
  };
  return { ...findings, verdict: verdictOf(experiment, findings) };
}
