import { table } from '../load/figures.ts';
import type { Finding } from './findings.ts';

export interface CheckReport {
  readonly name: string;
  readonly question: string;
  readonly provider: string;
  readonly seconds: number;
  readonly findings: readonly Finding[];
}

/** All that a run found. */
export interface BenchReport {
  readonly command: string;
  readonly started: string;
  readonly provider: string;
  /** Whether the processor stood in for a card. */
  readonly dryRun: boolean;
  readonly seconds: number;
  readonly machine: Readonly<Record<string, string>>;
  readonly checks: readonly CheckReport[];
}

/** Pairs a second that one H100 or H200 should reach with MiniLM-L6 at 128 tokens. */
const TARGETS = { engine: 20_000, http: 10_000 } as const;

const rounded = (value: number): string => {
  if (Number.isNaN(value)) return 'NaN';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 0.01) return value.toExponential(1);
  return size < 10 ? value.toFixed(2) : size < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US');
};

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function best(report: BenchReport, check: keyof typeof TARGETS): string {
  const rates = report.checks
    .filter(({ name, provider }) => name === check && provider === report.provider)
    .flatMap(({ findings }) => findings.filter(({ unit, value }) => unit === 'pairs/s' && value !== undefined));
  const [first] = rates.toSorted((a, b) => b.value! - a.value!);
  if (!first) return `${check}: no rate`;
  const target = report.dryRun ? 'no target in a dry run' : `target ${TARGETS[check].toLocaleString('en-US')}`;
  return `${check}: ${rounded(first.value!)} pairs/s (${first.what}; ${target})`;
}

/** Returns how many findings have each status. */
export function tally(checks: readonly CheckReport[]): string {
  const counts = new Map<Finding['status'], number>();
  for (const { status } of checks.flatMap(({ findings }) => findings))
    counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts].map(([status, count]) => `${count} ${status}`).join(', ');
}

/** Writes a report as Markdown: the machine, the rates that count, and one table with a line per finding. */
export function markdownOf(report: BenchReport): string {
  const rows = report.checks.flatMap(({ name, provider, findings }) =>
    findings.map(({ what, status, value, unit = '', detail = '' }) => [
      provider === report.provider ? name : `${name} (${provider})`,
      cell(what),
      value === undefined ? '' : `${rounded(value)} ${unit}`,
      status,
      cell(detail),
    ]),
  );
  return [
    `# GPU benchmark: ${report.dryRun ? 'dry run, the processor in the place of a card' : report.provider}`,
    '',
    `\`${report.command}\`, ${report.started}, ${Math.round(report.seconds)} s`,
    '',
    ...Object.entries(report.machine).map(([name, value]) => `- ${name}: ${value}`),
    '',
    `- ${best(report, 'engine')}`,
    `- ${best(report, 'http')}`,
    `- findings: ${tally(report.checks)}`,
    '',
    table(['check', 'what', 'value', 'status', 'detail'], rows),
    '',
  ].join('\n');
}
