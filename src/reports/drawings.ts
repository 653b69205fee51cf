import { join } from 'node:path';
import { writeFileAtomic } from '../util/files.ts';
import { criticalDifferenceSvg } from './charts/critical-difference.ts';
import { heatmapSvg } from './charts/heatmap.ts';
import { barsSvg, curveSvg, differencesSvg, scatterSvg } from './charts/marks.ts';
import { CATEGORY, escapeHtml, INK, lightColors } from './charts/vega.ts';
import { type ReportModel, renderSection, type SectionRenderers } from './report-model.ts';

/** A chart of a section: the drawing of the page, the names of its colors, and what tells it from others of its section. */
interface Chart {
  readonly part?: string;
  readonly svg: string;
  readonly legend?: readonly string[];
}

const charts = (id: string): SectionRenderers<Promise<readonly Chart[]>> => ({
  text: async () => [],
  table: async () => [],
  image: async () => [],
  ranks: async (s) => [{ svg: criticalDifferenceSvg(s, 'wide') }],
  heatmap: (s) =>
    Promise.all(s.panels.map(async (panel) => ({ part: panel.title, svg: await heatmapSvg(s, panel, 'wide', id) }))),
  bars: async (s) => [{ svg: await barsSvg(s, 'wide', id), legend: s.series.map(({ name }) => name) }],
  scatter: async (s) => [{ svg: await scatterSvg(s, 'wide', id) }],
  curve: async (s) => [{ svg: await curveSvg(s, 'wide', id), legend: s.lines.map(({ name }) => name) }],
  differences: async (s) => [{ svg: await differencesSvg(s, 'wide', id) }],
});

const MARGIN = 12;
const ROW = 22;
const FONT = 13;
/** Estimated width of a character at that size, rounded up: fonts are not measured here. */
const CHARACTER = 7.5;

/** Lays the names of the colors out in rows. */
function legendOf(names: readonly string[], width: number): { readonly body: string; readonly height: number } {
  if (names.length < 2) return { body: '', height: 0 };
  let [x, row] = [0, 0];
  const items = names.map((name, i) => {
    const length = 30 + CHARACTER * name.length;
    if (x > 0 && x + length > width) [x, row] = [0, row + 1];
    const [at, y] = [x, row * ROW + ROW / 2];
    x += length;
    return `<circle cx="${at + 6}" cy="${y}" r="6" fill="${CATEGORY[i % CATEGORY.length]}"/><text x="${at + 18}" y="${y + FONT / 3}" font-size="${FONT}" fill="${INK}">${escapeHtml(name)}</text>`;
  });
  return { body: items.join(''), height: (row + 1) * ROW + MARGIN };
}

/** Makes a drawing of the page one that stands alone: light colors on white, its size in pixels, the names of the colors above it. */
function standAlone({ svg, legend = [] }: Chart): string {
  const [head = '', w = '0', h = '0'] = /^<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>/.exec(svg) ?? [];
  const [width, height] = [Number(w), Number(h)];
  const names = legendOf(legend, width);
  const outer = { width: width + 2 * MARGIN, height: height + names.height + 2 * MARGIN };
  const label = /aria-label="[^"]*"/.exec(head)?.[0] ?? '';
  const inner = `<svg x="${MARGIN}" y="${MARGIN + names.height}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${svg.slice(head.length)}`;
  return lightColors(
    `<svg role="img" ${label} width="${outer.width}" height="${outer.height}" viewBox="0 0 ${outer.width} ${outer.height}" font-family="system-ui, sans-serif" xmlns="http://www.w3.org/2000/svg"><rect width="100%" height="100%" fill="white"/><g transform="translate(${MARGIN} ${MARGIN})">${names.body}</g>${inner}</svg>\n`,
  );
}

const slug = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-|-$/g, '');

/** Draws each chart of a report as an SVG file of its own, by the title of its section. @returns file names with their content. */
export async function drawingsOf(report: ReportModel): Promise<Map<string, string>> {
  const drawings = new Map<string, string>();
  for (const section of report.sections)
    for (const chart of await renderSection(charts('drawing'), section)) {
      const name = slug(chart.part === undefined ? section.title : `${section.title} ${chart.part}`);
      let file = `${name}.svg`;
      for (let n = 2; drawings.has(file); n++) file = `${name}-${n}.svg`;
      drawings.set(file, standAlone(chart));
    }
  return drawings;
}

/** Writes each chart of a report into a folder as an SVG file and returns their paths. */
export async function writeDrawings(folder: string, report: ReportModel): Promise<string[]> {
  const paths: string[] = [];
  for (const [file, svg] of await drawingsOf(report)) {
    const path = join(folder, file);
    await writeFileAtomic(path, svg);
    paths.push(path);
  }
  return paths;
}
