import type { ExperimentReport } from './model.ts';
import { type Section, sectionsOf } from './report-sections.ts';

function widthsOf({ head, rows }: Section): number[] {
  return head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
}

/** Columns of numbers stand to the right, with their signs, units and gaps. */
const isNumeric = ({ rows }: Section, i: number): boolean => rows.every((row) => /^([+−<\d–]|$)/.test(row[i] ?? ''));

/** A table with aligned columns. */
export function terminalSection(section: Section): string {
  const widths = widthsOf(section);
  const right = section.head.map((_, i) => i > 0 && isNumeric(section, i));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [
    section.title,
    '',
    line(section.head),
    rule,
    ...section.rows.map(line),
    ...(section.note ? [section.note] : []),
  ]
    .join('\n')
    .concat('\n');
}

const escaped = (cell: string) => cell.replaceAll('|', '\\|');

export function markdownSection(section: Section): string {
  const { title, head, rows, note } = section;
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(' | ')} |`;
  const rule = `|${head.map((_, i) => (i > 0 && isNumeric(section, i) ? '---:|' : '---|')).join('')}`;
  return [`## ${title}`, '', line(head), rule, ...rows.map(line), ...(note ? ['', note] : [])].join('\n').concat('\n');
}

const day = (at: number) => new Date(at).toISOString().slice(0, 16).replace('T', ' ');

function headOf({ experiment, mode, configHash, from, to }: ExperimentReport): string {
  const when = from === undefined || to === undefined ? 'no exposures yet' : `${day(from)} to ${day(to)} UTC`;
  return `${experiment}: ${mode}, ${when}, definition ${configHash}`;
}

/** A report for the terminal: verdict first. */
export function terminalReport(report: ExperimentReport): string {
  const warnings = report.warnings.map((warning) => `! ${warning}\n`).join('');
  return `${[`${headOf(report)}\n\n${report.verdict.text}\n${warnings}`, ...sectionsOf(report).map(terminalSection)].join('\n')}`;
}

/** The same as Markdown; `pictures` are links to charts. */
export function markdownReport(report: ExperimentReport, pictures: readonly string[] = []): string {
  const warnings = report.warnings.map((warning) => `> ${warning}\n`);
  const charts = pictures.map((picture) => `![${picture.replace(/\.svg$/, '')} over time](${picture})\n`);
  return [
    `# ${headOf(report)}\n`,
    `**${report.verdict.text}**\n`,
    ...warnings,
    ...charts,
    ...sectionsOf(report).map(markdownSection),
  ].join('\n');
}
