import { fixed, percent, pStatement, pValue, signedPercent, withSign } from '../../reports/format.ts';
import type { ImageSection, ReportModel, Section, TableSection } from '../../reports/report-model.ts';
import { textTable } from '../../reports/tables.ts';
import { SHADOW_FIGURES } from '../recording/shadow-figures.ts';
import type { CreditSection } from './credit.ts';
import type { Interval } from './estimates.ts';
import type { MetricSection } from './metric-sections.ts';
import type { Baseline, PlanRow } from './planning.ts';
import type { ArmSection, ExperimentReport } from './report-data.ts';
import type { SelfCheck } from './self-check.ts';

/*
 * The sections of reports/ that print what the analysis found. Figures are rounded here and nowhere else; the JSON report has them whole.
 */

const figure = (value: number) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));
const signedFigure = (value: number) => withSign(value, Math.abs(value).toPrecision(3));
const intervalText = ([low, high]: Interval, format: (value: number) => string) => `${format(low)} to ${format(high)}`;
const orDash = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(1));
const alwaysValidHead = (alpha: number) => `always-valid ${100 * (1 - alpha)} %`;

function armsTable(arms: readonly ArmSection[]): TableSection {
  const tripped = arms.flatMap(({ tripped: reason }) => reason ?? []);
  return textTable({
    title: 'Arms',
    head: ['arm', 'model', 'units', 'requests', 'failed', 'control answered', 'p50 ms', 'p95 ms'],
    rows: arms.map((a) => [
      `${a.arm}${a.control ? ' (control)' : ''}`,
      a.model,
      `${a.units}`,
      `${a.requests}`,
      `${a.failed}`,
      `${a.fallbacks}`,
      orDash(a.p50Ms),
      orDash(a.p95Ms),
    ]),
    note: tripped.length > 0 ? `Taken out by a guardrail: ${tripped.join('; ')}.` : undefined,
  });
}

function metricNote({ direction, primary, cuped }: MetricSection): string {
  const better = `${primary ? 'Primary metric. ' : ''}${direction === 'up' ? 'More' : 'Less'} is better.`;
  if (!cuped) return better;
  return `${better} CUPED: correlation ${fixed(cuped.correlation, 3)} with before, variance cut by ${percent(cuped.varianceReduction)}.`;
}

function metricTable(metric: MetricSection, alpha: number): TableSection {
  const { name, kind, numerator = name, denominator, arms, comparisons } = metric;
  return textTable({
    title: `${name} (${kind === 'ratio' ? `Σ ${numerator} ÷ Σ ${denominator}` : 'mean a unit'})`,
    head: ['arm', 'value', 'lift', alwaysValidHead(alpha), 'fixed horizon', 'corrected p', 'effect'],
    rows: arms.map(({ arm, value }) => {
      const found = comparisons.find((one) => one.arm === arm);
      if (!found) return [arm, figure(value), '', '', '', '', ''];
      const { lift, difference, alwaysValid, fixed: atEnd, adjustedP, effect } = found;
      const [anyTime, once] = [alwaysValid, atEnd].map(({ interval, liftInterval }) =>
        liftInterval ? intervalText(liftInterval, signedPercent) : intervalText(interval, signedFigure),
      );
      const size = lift === undefined ? signedFigure(difference) : signedPercent(lift);
      return [arm, figure(value), size, anyTime!, once!, pValue(adjustedP), effect];
    }),
    note: metricNote(metric),
  });
}

function creditTable({ metric, requests, preferences }: CreditSection, alpha: number): TableSection {
  return textTable({
    title: `${metric} (credit of ${requests} interleaved answers)`,
    head: ['arm', 'wins', 'losses', 'ties', 'preference', alwaysValidHead(alpha), 'bootstrap', 'corrected p'],
    rows: preferences.map(({ arm, wins, losses, ties, preference, alwaysValid, bootstrap, adjustedP }) => [
      arm,
      `${wins}`,
      `${losses}`,
      `${ties}`,
      signedPercent(preference),
      intervalText(alwaysValid.interval, signedPercent),
      intervalText(bootstrap, signedPercent),
      pValue(adjustedP),
    ]),
  });
}

function shadowTable(arm: string, figures: ExperimentReport['shadow'][string]): TableSection {
  return textTable({
    title: `Shadow ${arm}`,
    head: ['figure', 'mean', 'requests'],
    rows: Object.entries(SHADOW_FIGURES).flatMap(([name, meaning]) => {
      const seen = figures[name];
      return seen ? [[`${name}: ${meaning}`, seen.mean.toFixed(4), `${seen.requests}`]] : [];
    }),
  });
}

/** Says what a single look finds. */
function oneLook({ test, statistic, p }: NonNullable<ExperimentReport['sampleRatio']>): string {
  if (test === 'chi_square') return `χ² = ${statistic.toFixed(2)}${p === undefined ? '' : `, ${pStatement(p)}`}`;
  return p === undefined ? 'too few units for χ²' : `exact ${pStatement(p)}`;
}

/** Lists which versions answered, where an arm had more than one. */
function versionTable({ versions, since }: ExperimentReport): TableSection | undefined {
  const isPlain = new Set(versions.map(({ arm }) => arm)).size === versions.length;
  if (isPlain) return undefined;
  return textTable({
    title: 'Versions that answered',
    head: ['arm', 'version', 'requests', 'from (UTC)', 'to (UTC)'],
    rows: versions.map(({ arm, version, requests, firstAt, lastAt }) => [
      arm,
      version,
      `${requests}`,
      minute(firstAt),
      minute(lastAt),
    ]),
    note: since === undefined ? undefined : `Figures are of exposures from ${minute(since)} UTC on.`,
  });
}

function ratioTable(ratio: NonNullable<ExperimentReport['sampleRatio']>): TableSection {
  const { alwaysValidP, ok, arms } = ratio;
  return textTable({
    title: 'Sample ratio',
    head: ['arm', 'units', 'expected'],
    rows: arms.map(({ arm, units, expected }) => [
      arm,
      `${units}`,
      expected < 10 ? expected.toFixed(1) : expected.toFixed(0),
    ]),
    note: `Always-valid ${pStatement(alwaysValidP)} (one look: ${oneLook(ratio)}): ${ok ? 'as assigned.' : 'MISMATCH, nothing below can be trusted.'}`,
  });
}

const minute = (at: number) => new Date(at).toISOString().slice(0, 16).replace('T', ' ');

function titleOf({ experiment, mode, configHash, from, to }: ExperimentReport): string {
  const when = from === undefined || to === undefined ? 'no exposures yet' : `${minute(from)} to ${minute(to)} UTC`;
  return `${experiment}: ${mode}, ${when}, definition ${configHash}`;
}

/** Builds the printed report of an experiment: the verdict, then warnings, drawings and tables. */
export function reportModel(report: ExperimentReport, drawings: readonly ImageSection[] = []): ReportModel {
  const { alpha, warnings } = report;
  const versions = versionTable(report);
  const sections: readonly Section[] = [
    ...(warnings.length > 0 ? [{ kind: 'text', title: 'Warnings', paragraphs: warnings } as const] : []),
    ...drawings,
    ...(report.sampleRatio ? [ratioTable(report.sampleRatio)] : []),
    armsTable(report.arms),
    ...(versions ? [versions] : []),
    ...report.metrics.map((metric) => metricTable(metric, alpha)),
    ...report.credit.map((credit) => creditTable(credit, alpha)),
    ...Object.entries(report.shadow).map(([arm, figures]) => shadowTable(arm, figures)),
  ];
  return { title: titleOf(report), summary: report.verdict.text, sections };
}

/** Builds the table of an A/A self-check. */
export function selfCheckTable(checks: readonly SelfCheck[]): TableSection {
  return textTable({
    title: 'A/A self-check: control’s units halved at random',
    head: ['metric', 'units', 'runs', 'false positives', 'expected', 'sound'],
    rows: checks.map(({ metric, units, runs, falsePositives, expected, ok }) => [
      metric,
      `${units}`,
      `${runs}`,
      percent(falsePositives),
      intervalText(expected, percent),
      ok ? 'yes' : 'NO',
    ]),
  });
}

/**
 * Builds the table of the units and days that an experiment needs.
 * @param power the chance of finding each lift.
 */
export function planTable(baseline: Baseline, rows: readonly PlanRow[], power: number): TableSection {
  const { metric, mean, deviation, correlation } = baseline;
  return textTable({
    title: `Units over all arms to find a lift of ${metric} with a chance of ${100 * power} %`,
    head: ['lift', 'one look at the end', 'days', 'looks at any time', 'days'],
    rows: rows.map((row) => [
      `${(100 * row.lift).toPrecision(3)} %`,
      `${row.fixed}`,
      orDash(row.fixedDays),
      `${row.alwaysValid}`,
      orDash(row.alwaysValidDays),
    ]),
    note: `Mean ${mean.toPrecision(4)}, standard deviation ${deviation.toPrecision(4)}, correlation with before ${fixed(correlation, 3)}.`,
  });
}
