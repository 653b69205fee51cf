import { cliques } from '../statistics/friedman.ts';
import { fixed, pad, share, signed } from './format.ts';
import {
  type Column,
  type DifferencesSection,
  type HeatmapSection,
  type RanksSection,
  type ReportModel,
  renderSection,
  type Section,
  type SectionRenderers,
  type TableSection,
} from './report-model.ts';
import { captionOf, differencesFacts, gradeOf, isBold, moveOf, ranksFacts, symbolsOf } from './section-text.ts';

interface TerminalOptions {
  /** ANSI colors and bold. */
  readonly color?: boolean;
}

interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  /** Shades text by `level`, from 0 (low) to 1 (high). */
  readonly heat: (text: string, level: number) => string;
}

const ESC = '\u001b[';

const COLORED: Style = {
  bold: (text) => `${ESC}1m${text}${ESC}0m`,
  dim: (text) => `${ESC}2m${text}${ESC}0m`,
  heat: (text, level) => `${ESC}48;5;${233 + Math.round(level * 12)}m${ESC}38;5;255m${text}${ESC}0m`,
};

const SHADES = ' ░▒▓█';

const PLAIN: Style = {
  bold: (text) => text,
  dim: (text) => text,
  heat: (text, level) => `${text}${SHADES[Math.round(level * (SHADES.length - 1))]}`,
};

/** Characters of drawings: scales and bars. */
const WIDTH = 60;

/** Pads cells to the widths of their columns: head, rule, rows. Numbers stand right; a last column of words is not padded. */
function aligned(columns: readonly Column[], rows: readonly (readonly string[])[]): string[][] {
  const head = columns.map((column) => column.label);
  const widths = head.map((label, i) => Math.max(label.length, ...rows.map((row) => row[i]!.length)));
  const cell = (text: string, i: number): string => {
    const right = columns[i]!.numeric === true;
    return !right && i === columns.length - 1 ? text : pad(text, widths[i]!, right);
  };
  return [head, ...rows]
    .map((row) => row.map(cell))
    .toSpliced(
      1,
      0,
      widths.map((w) => '─'.repeat(w)),
    );
}

/** Returns the lines of a table of plain text: head, rule and rows, columns two spaces apart. */
const terminalTable = (columns: readonly Column[], rows: readonly (readonly string[])[]): string[] =>
  aligned(columns, rows).map((row) => row.join('  ').trimEnd());

function table(section: TableSection, style: Style): string[] {
  const isBest = (i: number, j: number): boolean => {
    const cell = section.rows[i]?.[j];
    return cell !== undefined && isBold(cell);
  };
  const texts = section.rows.map((row) => row.map((c) => c.text + symbolsOf(c)));
  const lines = aligned(section.columns, texts).map((row, i) =>
    row
      .map((text, j) => (isBest(i - 2, j) ? style.bold(text) : text))
      .join('  ')
      .trimEnd(),
  );
  const caption = captionOf(section);
  return caption === '' ? lines : [...lines, style.dim(caption)];
}

function heatmap(section: HeatmapSection, style: Style): string[] {
  return section.panels.flatMap(({ title, values }) => {
    const known = values.flat().filter((v) => v !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const head = Math.max(...section.rows.map((row) => row.length));
    const width = Math.max(7, ...section.columns.map((column) => column.length)) + 1;
    const line = (row: readonly (number | null)[]): string =>
      row
        .map((v) =>
          v === null
            ? pad('–', width, true)
            : style.heat(pad(share(v, section.digits), width - 1, true), high > low ? (v - low) / (high - low) : 0),
        )
        .join(' ');
    return [
      style.bold(title),
      `${' '.repeat(head)} ${section.columns.map((column) => pad(column, width, true)).join(' ')}`,
      ...section.rows.map((row, i) => `${row.padEnd(head)} ${line(values[i]!)}`),
      '',
    ];
  });
}

/** Draws the critical-difference diagram in characters: a scale, one line per treatment, bars over those that do not differ. */
function ranks(section: RanksSection, style: Style): string[] {
  const { treatments, criticalDifference: cd } = section;
  const k = treatments.length;
  const column = (rank: number): number => Math.round(((rank - 1) / (k - 1)) * (WIDTH - 1));
  const at = (marks: readonly (readonly [number, string])[]): string => {
    const line = new Array<string>(WIDTH).fill(' ');
    for (const [place, mark] of marks) line[place] = mark;
    return line.join('');
  };
  const scale = at(Array.from({ length: k }, (_, i) => [column(i + 1), `${(i + 1) % 10}`]));
  const groups = cliques(
    treatments.map(({ rank }) => rank),
    cd,
  );
  const bars = groups.map((group) => {
    const [from, to] = [column(treatments[group[0]!]!.rank), column(treatments[group.at(-1)!]!.rank)];
    return at(Array.from({ length: to - from + 1 }, (_, i) => [from + i, '━']));
  });
  return [
    ranksFacts(section),
    scale,
    ...treatments.map(({ name, rank }) => `${at([[column(rank), '●']])}  ${fixed(rank, 2)}  ${name}`),
    ...bars,
    ...(section.note === undefined ? [] : [style.dim(section.note)]),
  ];
}

function differences(section: DifferencesSection, style: Style): string[] {
  return [
    differencesFacts(section),
    ...section.queries.flatMap(({ qid, text, before, after, passages }) => [
      `${style.bold(signed(after - before))}  ${qid}  ${text}`,
      ...passages.map((p) => `    ${moveOf(p)}  ${gradeOf(p)}  ${p.docid}  ${p.text.slice(0, 80)}`),
    ]),
  ];
}

const noteOf = (style: Style, note: string | undefined): string[] => (note === undefined ? [] : [style.dim(note)]);

const renderers = (style: Style): SectionRenderers<string[]> => ({
  text: (s) => [...s.paragraphs],
  table: (s) => table(s, style),
  heatmap: (s) => [...heatmap(s, style), ...noteOf(style, s.note)],
  ranks: (s) => ranks(s, style),
  bars(s) {
    const top = Math.max(...s.series.flatMap(({ values }) => values));
    const name = Math.max(...s.series.map((series) => series.name.length));
    const bar = (v: number): string => '█'.repeat(Math.round((v / top) * (WIDTH - 20)));
    const lines = s.groups.flatMap((group, i) => [
      style.bold(group),
      ...s.series.map(
        (series) => `  ${series.name.padEnd(name)} ${bar(series.values[i]!)} ${share(series.values[i]!, s.digits)}`,
      ),
    ]);
    return [...lines, ...noteOf(style, s.note)];
  },
  scatter: (s) => [
    ...terminalTable(
      [{ label: 'system' }, { label: s.x.label, numeric: true }, { label: s.y.label, numeric: true }],
      s.points.map((p) => [p.name, String(p.x), share(p.y)]),
    ),
    ...noteOf(style, s.note),
  ],
  curve: (s) => [
    ...terminalTable(
      [{ label: 'line' }, ...[s.x.label, s.y.label, ''].map((label) => ({ label, numeric: true }))],
      s.lines.flatMap(({ name, points }) => points.map((p) => [name, String(p.x), share(p.y), p.label ?? ''])),
    ),
    ...noteOf(style, s.note),
  ],
  differences: (s) => [...differences(s, style), ...noteOf(style, s.note)],
  image: (s) => [`${s.alt}: ${s.file}`, ...noteOf(style, s.note)],
});

const styleOf = (options: TerminalOptions): Style => (options.color === true ? COLORED : PLAIN);

/** Renders one section with its title, with a line break at the end. */
export function terminalSection(section: Section, options: TerminalOptions = {}): string {
  const style = styleOf(options);
  return `${[style.bold(section.title), '', ...renderSection(renderers(style), section)].join('\n')}\n`;
}

/** Renders a report for a terminal, with a line break at the end. */
export function renderTerminal(report: ReportModel, options: TerminalOptions = {}): string {
  const head = [styleOf(options).bold(report.title), ...(report.summary === undefined ? [] : [report.summary])];
  return [`${head.join('\n')}\n`, ...report.sections.map((section) => terminalSection(section, options))].join('\n');
}
