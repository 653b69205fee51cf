import type { CreditSection } from '../../../experiments/analysis/credit.ts';
import type { MetricSection } from '../../../experiments/analysis/metric-sections.ts';
import type { ArmSection, ExperimentReport } from '../../../experiments/analysis/report-data.ts';
import type { Series } from '../../../experiments/analysis/series.ts';
import { count, duration, figure, percent, pText, signed } from '../format.ts';
import { Badge, Facts, Notice, Table, type Tone } from '../parts.tsx';
import { effectText, IntervalChart, intervalText } from './interval-chart.tsx';
import { effectSeries } from './interval-points.ts';

/** Shows the sample ratio test. It precedes all figures, because missing units invalidate them. */
export function SampleRatio({ ratio }: { ratio: ExperimentReport['sampleRatio'] }) {
  if (!ratio) return null;
  const seen = ratio.arms
    .map(({ arm, units, expected }) => `${arm} ${count(units)} of ${count(expected)} expected`)
    .join(', ');
  const test = `always-valid p ${pText(ratio.alwaysValidP).replace(/^(?!<)/, '= ')}`;
  if (ratio.ok)
    return (
      <p class="muted tabular">
        Sample ratio as planned: {seen} ({test}).
      </p>
    );
  return (
    <Notice tone="bad" title="Sample ratio mismatch.">
      Do not use the figures below until the cause is found.
    </Notice>
  );
}

function ArmName({ arm: { arm, control, tripped } }: { arm: ArmSection }) {
  return (
    <>
      {arm} {control && <Badge>control</Badge>} {tripped !== undefined && <Badge tone="bad">disabled</Badge>}
    </>
  );
}

const latency = (ms: number | undefined): string => (ms === undefined ? '–' : duration(ms));

const trafficOf = ({ units, requests, failed, fallbacks, p50Ms, p95Ms }: ArmSection, answers: boolean): string[] => [
  ...[units, requests, failed, fallbacks].map((number) => (answers ? count(number) : '–')),
  ...[p50Ms, p95Ms].map(latency),
];

/** Shows the traffic of each arm. Interleaved answers belong to all arms, so counts are omitted; in shadow mode control answers everything. */
export function ArmTable({ report: { arms, mode } }: { report: ExperimentReport }) {
  const counts = mode !== 'interleave';
  return (
    <Table
      caption="Arms"
      head={['Arm', 'Model', ...(counts ? ['Units', 'Requests', 'Failed', 'Fell back', 'p50', 'p95'] : [])]}
      rows={arms.map((arm) => [
        <ArmName key="arm" arm={arm} />,
        arm.model,
        ...(counts ? trafficOf(arm, mode !== 'shadow' || arm.control) : []),
      ])}
    />
  );
}

const EFFECTS: Readonly<Record<'better' | 'worse' | 'none', readonly [Tone, string]>> = {
  better: ['good', 'better'],
  worse: ['bad', 'worse'],
  none: ['plain', 'not decided'],
};

function Effects({ section }: { section: MetricSection }) {
  return (
    <Table
      caption={`Effects on ${section.name}`}
      head={['Arm', 'Effect', 'Always-valid interval', 'Corrected p']}
      rows={section.comparisons.map(({ arm, difference, lift, alwaysValid, adjustedP, effect }) => {
        const relative = lift !== undefined && alwaysValid.liftInterval !== undefined;
        const [tone, word] = EFFECTS[effect];
        return [
          arm,
          <span key="effect" class="version-head">
            {effectText(relative ? lift : difference, relative)} <Badge tone={tone}>{word}</Badge>
          </span>,
          intervalText(relative ? alwaysValid.liftInterval : alwaysValid.interval, relative),
          pText(adjustedP),
        ];
      })}
    />
  );
}

/** Shows one metric: values of the arms, effects, and effects over time. */
export function MetricResult({ section, series }: { section: MetricSection; series: Series | undefined }) {
  const { name, kind, direction, numerator = name, denominator, primary, cuped, arms, comparisons } = section;
  const noOutcome = arms.every(({ value, variance }) => value === 0 && variance === 0);
  return (
    <section class="metric" aria-label={`Metric ${name}`}>
      <header class="version-head">
        <h3>{name}</h3>
        {primary && <Badge tone="accent">primary</Badge>}
        <span class="muted small">
          {kind === 'ratio' ? `${numerator} per ${denominator}` : kind}, {direction === 'up' ? 'more' : 'less'} is
          better
          {cuped &&
            cuped.varianceReduction >= 0.01 &&
            `; variance cut by ${percent(cuped.varianceReduction, 0)} (CUPED)`}
        </span>
      </header>
      <Facts
        entries={arms.map(({ arm, value, variance, n }) => [
          arm,
          `${figure(value)} ± ${figure(Math.sqrt(variance / n))}`,
        ])}
      />
      {noOutcome && <p class="muted">No outcome yet.</p>}
      {!noOutcome && comparisons.length > 0 && <Effects section={section} />}
      {series &&
        !noOutcome &&
        comparisons.map(({ arm }) => {
          const effect = effectSeries(series, name, arm);
          const seen = effect.points.filter(({ value }) => Number.isFinite(value)).length;
          return (
            seen > 1 && <IntervalChart key={arm} label={`${name}: ${arm} against control over time`} series={effect} />
          );
        })}
    </section>
  );
}

/** Shows the credit of interleaved arms: whose items users chose. */
export function Credit({ section: { metric, requests, preferences } }: { section: CreditSection }) {
  return (
    <section class="metric" aria-label={`Credit by ${metric}`}>
      <header class="version-head">
        <h3>{metric}</h3>
        <span class="muted small">{count(requests)} interleaved answers with an outcome</span>
      </header>
      <Table
        caption={`Credit by ${metric}`}
        head={[
          'Arm',
          'Wins',
          'Losses',
          'Ties',
          'Preferred by',
          'Bootstrap interval',
          'Always-valid interval',
          'Corrected p',
        ]}
        rows={preferences.map(({ arm, wins, losses, ties, preference, bootstrap, alwaysValid, adjustedP }) => [
          arm,
          count(wins),
          count(losses),
          count(ties),
          signed(percent(preference)),
          intervalText(bootstrap, true),
          intervalText(alwaysValid.interval, true),
          pText(adjustedP),
        ])}
      />
    </section>
  );
}

const FIGURES: Readonly<Record<string, string>> = {
  kendall_tau: 'Kendall’s τ',
  rbo: 'Rank-biased overlap',
  overlap_at_10: 'Overlap of the first 10',
  top_1_flip: 'Different first',
  score_drift: 'Score drift',
};

/** Shows how shadow rankings differ from the answers. */
export function Shadow({ shadow }: { shadow: ExperimentReport['shadow'] }) {
  const arms = Object.entries(shadow);
  const figures = [...new Set(arms.flatMap(([, of]) => Object.keys(of)))];
  const title = (name: string) => FIGURES[name] ?? name;
  return (
    <Table
      caption="Shadow figures"
      head={['Arm', 'Requests', ...figures.map(title)]}
      rows={arms.map(([arm, of]) => [
        arm,
        count(Math.max(0, ...Object.values(of).map(({ requests }) => requests))),
        ...figures.map((name) => (of[name] ? figure(of[name].mean) : '–')),
      ])}
    />
  );
}
