import { criticalDifferenceSvg } from './charts/critical-difference.ts';
import { heatmapSvg } from './charts/heatmap.ts';
import { barsSvg, curveSvg, differencesSvg, scatterSvg } from './charts/marks.ts';
import { CATEGORY, type ChartWidth, escapeAttribute, escapeHtml } from './charts/vega.ts';
import { share, signed } from './format.ts';
import { PAGE_STYLE } from './page-style.ts';
import {
  type Cell,
  type DifferencesSection,
  type HeatmapSection,
  type ReportModel,
  renderSection,
  type Section,
  type SectionRenderers,
  type TableSection,
} from './report-model.ts';
import { captionOf, differencesFacts, gradeOf, moveOf, ranksFacts, symbolsOf } from './section-text.ts';

type Html = Promise<string>;

const note = (text: string | undefined): string => (text ? `<p class="note">${escapeHtml(text)}</p>` : '');

/** Lists the names of the colors in the order of the categories. Unlike a drawn legend, a list wraps in a narrow window. */
function legend(names: readonly string[]): string {
  const items = names.map(
    (name, i) => `<li><span style="background:${CATEGORY[i % CATEGORY.length]}"></span>${escapeHtml(name)}</li>`,
  );
  return names.length > 1 ? `<ul class="legend">${items.join('')}</ul>` : '';
}

/** Draws a chart for both widths; the page's style shows one of them. */
async function bothWidths(draw: (width: ChartWidth) => Html | string, caption?: string): Html {
  const [wide, narrow] = [await draw('wide'), await draw('narrow')];
  const text = caption ? `<figcaption class="note">${escapeHtml(caption)}</figcaption>` : '';
  return `<figure><div class="wide">${wide}</div><div class="narrow">${narrow}</div>${text}</figure>`;
}

function cellHtml(cell: Cell, numeric: boolean): string {
  const classes = [...(numeric ? ['number'] : []), ...(cell.marks ?? [])];
  return `<td${classes.length > 0 ? ` class="${classes.join(' ')}"` : ''}>${escapeHtml(cell.text + symbolsOf(cell))}</td>`;
}

function tableHtml(section: TableSection): string {
  const numeric = section.columns.map((column) => column.numeric === true);
  const head = section.columns.map(
    ({ label }, i) => `<th scope="col"${numeric[i] ? ' class="number"' : ''}>${escapeHtml(label)}</th>`,
  );
  const rows = section.rows.map((row) => `<tr>${row.map((cell, i) => cellHtml(cell, numeric[i]!)).join('')}</tr>`);
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeAttribute(section.title)}"><table class="wide-table"><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>${note(captionOf(section))}`;
}

/** Draws the first panel large and the others small, side by side. */
async function heatmapHtml(section: HeatmapSection, id: string): Html {
  const [first, ...rest] = section.panels;
  if (first === undefined) return '';
  const large = await bothWidths((width) => heatmapSvg(section, first, width, `${id}-${width}`));
  const small = await Promise.all(
    rest.map(
      async (panel, i) =>
        `<figure><h3>${escapeHtml(panel.title)}</h3>${await heatmapSvg(section, panel, 'narrow', `${id}-p${i}`)}</figure>`,
    ),
  );
  const panels = small.length > 0 ? `<div class="panels">${small.join('')}</div>` : '';
  return `<h3>${escapeHtml(first.title)}</h3>${large}${panels}${note(section.note)}`;
}

type Difference = DifferencesSection['queries'][number];

function movedHtml(passage: Difference['passages'][number]): string {
  return `<li><span class="place">rank ${moveOf(passage)}<br>${gradeOf(passage)}</span><p>${escapeHtml(passage.text)} <span class="place">${escapeHtml(passage.docid)}</span></p></li>`;
}

function queryHtml({ qid, text, before, after, passages }: Difference): string {
  const change = after - before;
  const kind = change < 0 ? 'worse' : 'better';
  const moved = passages.length > 0 ? `<ul class="moved">${passages.map(movedHtml).join('')}</ul>` : '';
  return `<details><summary><b class="${kind}">${signed(change)}</b> ${escapeHtml(text)} <span class="seen">${escapeHtml(qid)}, ${share(before)} → ${share(after)}</span></summary>${moved}</details>`;
}

async function differencesHtml(section: DifferencesSection, id: string): Html {
  const chart = await bothWidths((width) => differencesSvg(section, width, `${id}-${width}`));
  return `<p class="facts">${escapeHtml(differencesFacts(section))}</p>${chart}${section.queries.map(queryHtml).join('')}${note(section.note)}`;
}

const renderers = (id: string): SectionRenderers<Html | string> => ({
  text: (s) => s.paragraphs.map((text) => `<p>${escapeHtml(text)}</p>`).join('') + note(s.note),
  table: tableHtml,
  heatmap: (s) => heatmapHtml(s, id),
  async ranks(s) {
    return `<p class="facts">${escapeHtml(ranksFacts(s))}</p>${await bothWidths((width) => criticalDifferenceSvg(s, width), s.note)}`;
  },
  async bars(s) {
    return (
      legend(s.series.map(({ name }) => name)) +
      (await bothWidths((width) => barsSvg(s, width, `${id}-${width}`), s.note))
    );
  },
  scatter: (s) => bothWidths((width) => scatterSvg(s, width, `${id}-${width}`), s.note),
  async curve(s) {
    return (
      legend(s.lines.map(({ name }) => name)) +
      (await bothWidths((width) => curveSvg(s, width, `${id}-${width}`), s.note))
    );
  },
  differences: (s) => differencesHtml(s, id),
  // A page is one file and loads no other.
  image: (s) => `<p>${escapeHtml(`${s.alt}: ${s.file}`)}</p>${note(s.note)}`,
});

async function sectionHtml(section: Section, index: number): Html {
  const id = `s${index + 1}`;
  const body = await renderSection(renderers(id), section);
  return `<section id="${id}"><h2>${escapeHtml(section.title)}</h2>${body}</section>`;
}

/** Renders a report as one self-contained page, without scripts and without fonts or pictures from elsewhere. */
export async function renderHtml(report: ReportModel): Html {
  const sections: string[] = [];
  for (const [index, section] of report.sections.entries()) sections.push(await sectionHtml(section, index));
  const links = report.sections.map((section, i) => `<a href="#s${i + 1}">${escapeHtml(section.title)}</a>`);
  const summary = report.summary === undefined ? '' : `<p class="summary">${escapeHtml(report.summary)}</p>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(report.title)}</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(report.title)}</h1>
${summary}
<nav aria-label="Contents">${links.join('')}</nav>
${sections.join('\n')}
</main>
</body>
</html>
`;
}
