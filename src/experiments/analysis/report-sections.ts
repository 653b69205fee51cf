import { SHADOW_FIGURES } from '../recording/shadow.ts';
import type { CreditSection } from './credit.ts';
import type { MetricSection } from './metrics.ts';
import type { ArmSection, ExperimentReport } from './model.ts';
import type { SelfCheck } from './self-check.ts';

/** A table for terminal or page. The first column is text, the others numbers. */
export interface Section {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly note?: string;
}

const signed = (text: string, value: number) => `${value < 0 ? '−' : '+'}${text}`;
export const percent = (share: number, digits = 2) => signed(`${Math.abs(100 * share).toFixed(digits)} %`, share);
const figure = (value: number) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));
const change = (value: number) => signed(Math.abs(value).toPrecision(3), value);
export const pValue = (p: number) => (p < 0.0001 ? '< 0.0001' : p.toFixed(4));
const span = ([low, high]: readonly [number, number], write: (value: number) => string) =>
  `${write(low)} to ${write(high)}`;

const optional = (value: number | undefined, digits = 1) => (value === undefined ? '–' : value.toFixed(digits));

function armsSection(arms: readonly ArmSection[]): Section {
  const tripped = arms.flatMap(({ tripped: why }) => why ?? []);
  return {
    title: 'Arms',
    head: ['arm', 'model', 'units', 'requests', 'failed', 'control answered', 'p50 ms', 'p95 ms'],
    rows: arms.map((a) => [
      ...[`${a.arm}${a.control ? ' (control)' : ''}`, a.model, `${a.units}`, `${a.requests}`, `${a.failed}`],
      ...[`${a.fallbacks}`, optional(a.p50Ms), optional(a.p95Ms)],
    ]),
    ...(tripped.length > 0 ? { note: `Taken out by a guardrail: ${tripped.join('; ')}.` } : {}),
  };
}

function metricSection(metric: MetricSection, alpha: number): Section {
  const { name, kind, numerator = name, denominator, direction, primary, cuped, arms, comparisons } = metric;
  const notes = [
    `${primary ? 'Primary metric. ' : ''}${direction === 'up' ? 'More' : 'Less'} is better.`,
    ...(cuped
      ? [
          `CUPED: correlation ${cuped.correlation.toFixed(3)} with before, variance cut by ${(100 * cuped.varianceReduction).toFixed(1)} %.`,
        ]
      : []),
  ];
  return {
    title: `${name} (${kind === 'ratio' ? `Σ ${numerator} ÷ Σ ${denominator}` : 'mean a unit'})`,
    head: ['arm', 'value', 'lift', `always-valid ${100 * (1 - alpha)} %`, 'fixed horizon', 'corrected p', 'effect'],
    rows: arms.map((arm) => {
      const found = comparisons.find((one) => one.arm === arm.arm);
      if (!found) return [arm.arm, figure(arm.value), '', '', '', '', ''];
      const { lift, difference, alwaysValid, fixed, adjustedP, effect } = found;
      const intervals = [alwaysValid, fixed].map(({ interval, liftInterval }) =>
        liftInterval ? span(liftInterval, percent) : span(interval, change),
      );
      const size = lift === undefined ? change(difference) : percent(lift);
      return [arm.arm, figure(arm.value), size, ...intervals, pValue(adjustedP), effect];
    }),
    note: notes.join(' '),
  };
}

function creditSection({ metric, requests, preferences }: CreditSection, alpha: number): Section {
  return {
    title: `${metric} (credit of ${requests} interleaved answers)`,
    head: ['arm', 'wins', 'losses', 'ties', 'preference', `always-valid ${100 * (1 - alpha)} %`, 'bootstrap', 'p'],
    rows: preferences.map(({ arm, wins, losses, ties, preference, alwaysValid, bootstrap }) => [
      ...[arm, `${wins}`, `${losses}`, `${ties}`, percent(preference)],
      ...[span(alwaysValid.interval, percent), span(bootstrap, percent), pValue(alwaysValid.p)],
    ]),
  };
}

function shadowSection(arm: string, figures: ExperimentReport['shadow'][string]): Section {
  const names = Object.keys(SHADOW_FIGURES) as (keyof typeof SHADOW_FIGURES)[];
  return {
    title: `Shadow ${arm}`,
    head: ['figure', 'mean', 'requests'],
    rows: names.flatMap((name) => {
      const seen = figures[name];
      return seen ? [[`${name}: ${SHADOW_FIGURES[name]}`, seen.mean.toFixed(4), `${seen.requests}`]] : [];
    }),
  };
}

function ratioSection({ statistic, p, ok, arms }: NonNullable<ExperimentReport['sampleRatio']>): Section {
  return {
    title: 'Sample ratio',
    head: ['arm', 'units', 'expected'],
    rows: arms.map(({ arm, units, expected }) => [arm, `${units}`, expected.toFixed(0)]),
    note: `χ² = ${statistic.toFixed(2)}, p = ${pValue(p)}: ${ok ? 'as assigned.' : 'MISMATCH, nothing below can be trusted.'}`,
  };
}

/** A report as tables, in the order it is read. */
export function sectionsOf(report: ExperimentReport): readonly Section[] {
  const { alpha } = report;
  return [
    ...(report.sampleRatio ? [ratioSection(report.sampleRatio)] : []),
    armsSection(report.arms),
    ...report.metrics.map((metric) => metricSection(metric, alpha)),
    ...report.credit.map((credit) => creditSection(credit, alpha)),
    ...Object.entries(report.shadow).map(([arm, figures]) => shadowSection(arm, figures)),
  ];
}

export function selfCheckSection(checks: readonly SelfCheck[]): Section {
  return {
    title: 'A/A self-check: control’s units halved at random',
    head: ['metric', 'units', 'runs', 'false positives', 'expected', 'sound'],
    rows: checks.map(({ metric, units, runs, falsePositives, expected, ok }) => [
      ...[metric, `${units}`, `${runs}`, `${(100 * falsePositives).toFixed(1)} %`],
      ...[expected.map((share) => `${(100 * share).toFixed(1)} %`).join(' to '), ok ? 'yes' : 'NO'],
    ]),
  };
}
