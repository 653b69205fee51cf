import { cliques } from '../statistics/friedman.ts';
import { fixed, share, signed } from './format.ts';
import {
  type Column,
  type DifferencesSection,
  type RanksSection,
  type ReportModel,
  renderSection,
  type Section,
  type SectionRenderers,
  type TableSection,
} from './report-model.ts';
import { captionOf, differencesFacts, gradeOf, isBold, moveOf, ranksFacts, symbolsOf } from './section-text.ts';

/** Escapes what Markdown would read as markup and joins lines. */
const escapeMarkdown = (text: string): string => text.replace(/[\\|<>`*_[\]]/g, '\\$&').replace(/\s+/g, ' ');

type Rows = readonly (readonly string[])[];

/** Returns a table whose cells are Markdown already. */
function grid(head: readonly string[], numeric: readonly boolean[], rows: Rows): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(numeric.map((right) => (right ? '---:' : '---'))), ...rows.map(line)].join('\n');
}

/** Returns a table of plain text, which is escaped; without a line break at the end. */
export function markdownTable(columns: readonly Column[], rows: Rows): string {
  return grid(
    columns.map((column) => escapeMarkdown(column.label)),
    columns.map((column) => column.numeric === true),
    rows.map((row) => row.map(escapeMarkdown)),
  );
}

const numbersAfterFirst = (head: readonly string[]): boolean[] => head.map((_, i) => i > 0);

function table(section: TableSection): string {
  const rows = section.rows.map((row) =>
    row.map((cell) => {
      const text = escapeMarkdown(cell.text) + symbolsOf(cell);
      return isBold(cell) ? `**${text}**` : text;
    }),
  );
  const head = section.columns.map((column) => escapeMarkdown(column.label));
  return (
    grid(
      head,
      section.columns.map((column) => column.numeric === true),
      rows,
    ) + paragraph(captionOf(section))
  );
}

const paragraph = (text: string | undefined): string => (text ? `\n\n${text}` : '');

function ranks(section: RanksSection): string {
  const { treatments, criticalDifference: cd } = section;
  const groups = cliques(
    treatments.map(({ rank }) => rank),
    cd,
  );
  const letters = treatments.map((_, i) =>
    groups.flatMap((group, g) => (group.includes(i) ? [String.fromCharCode(97 + g)] : [])).join(''),
  );
  const rows = treatments.map(({ name, rank }, i) => [escapeMarkdown(name), fixed(rank, 2), letters[i]!]);
  return `${ranksFacts(section)}

${grid(['', 'mean rank', 'group'], [false, true, false], rows)}

Those that share a letter do not differ significantly.${paragraph(section.note)}`;
}

function differences(section: DifferencesSection): string {
  const rows = section.queries.map(({ qid, text, before, after, passages }) => {
    const moved = passages.map(
      (p) => `  - ${moveOf(p)}, ${gradeOf(p)}: ${escapeMarkdown(p.text)} (${escapeMarkdown(p.docid)})`,
    );
    return [
      `- **${signed(after - before)}** (${share(before)} → ${share(after)}) ${escapeMarkdown(qid)}: ${escapeMarkdown(text)}`,
      ...moved,
    ].join('\n');
  });
  return `${escapeMarkdown(differencesFacts(section))}\n\n${rows.join('\n')}${paragraph(section.note)}`;
}

const RENDERERS: SectionRenderers<string> = {
  text: (s) => s.paragraphs.join('\n\n'),
  table,
  heatmap: (s) =>
    s.panels
      .map(({ title, values }) => {
        const head = [escapeMarkdown(title), ...s.columns.map(escapeMarkdown)];
        const rows = s.rows.map((row, i) => [
          escapeMarkdown(row),
          ...values[i]!.map((v) => (v === null ? '–' : share(v, s.digits))),
        ]);
        return grid(head, numbersAfterFirst(head), rows);
      })
      .join('\n\n') + paragraph(s.note),
  ranks,
  bars(s) {
    const head = [s.measure, ...s.groups.map(escapeMarkdown)];
    const rows = s.series.map(({ name, values }) => [escapeMarkdown(name), ...values.map((v) => share(v, s.digits))]);
    return grid(head, numbersAfterFirst(head), rows) + paragraph(s.note);
  },
  scatter(s) {
    const head = ['system', s.x.label, s.y.label].map(escapeMarkdown);
    return (
      grid(
        head,
        numbersAfterFirst(head),
        s.points.map((p) => [escapeMarkdown(p.name), String(p.x), share(p.y)]),
      ) + paragraph(s.note)
    );
  },
  curve(s) {
    const head = ['line', s.x.label, s.y.label, ''].map(escapeMarkdown);
    const rows = s.lines.flatMap(({ name, points }) =>
      points.map((p) => [escapeMarkdown(name), String(p.x), share(p.y), escapeMarkdown(p.label ?? '')]),
    );
    return grid(head, numbersAfterFirst(head), rows) + paragraph(s.note);
  },
  differences,
  image: (s) => `![${escapeMarkdown(s.alt)}](${encodeURI(s.file)})${paragraph(s.note)}`,
};

/** Renders one section under a heading of the second level, without a line break at the end. */
export const markdownSection = (section: Section): string =>
  `## ${section.title}\n\n${renderSection(RENDERERS, section)}`;

/** Renders a report as GitHub-flavored Markdown. */
export function renderMarkdown(report: ReportModel): string {
  const head = [`# ${report.title}`, ...(report.summary === undefined ? [] : [report.summary])];
  return `${[...head, ...report.sections.map(markdownSection)].join('\n\n')}\n`;
}

/** Renders a report as JSON: results for programs under `data`, what the other formats draw under `sections`. */
export function renderJson(report: ReportModel): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}
