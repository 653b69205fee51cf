import type { Config, TopLevelSpec } from 'vega-lite';
import { LIGHT } from '../palette.ts';

/** Every chart of a page is drawn in two widths, of which the page shows one. */
export type ChartWidth = 'wide' | 'narrow';

/** Widths in CSS pixels, margins included. */
export const WIDTHS: Readonly<Record<ChartWidth, number>> = { wide: 860, narrow: 342 };

/** Steps of the sequential scale, `--h0` … `--h8` of the palette. */
export const HEAT_STEPS = 9;

/** Colors are CSS variables that the page defines, so that one drawing serves light and dark. */
export const INK = 'var(--ink)';
export const MUTED = 'var(--muted)';
export const GRID = 'var(--line)';

/** Colors of categories, `--c0` … `--c7` of the palette. */
export const CATEGORY = Array.from({ length: 8 }, (_, i) => `var(--c${i})`);
export const HEAT = Array.from({ length: HEAT_STEPS }, (_, i) => `var(--h${i})`);

const FONT = 'system-ui, sans-serif';

const CONFIG: Config = {
  background: 'transparent',
  font: FONT,
  view: { stroke: null },
  mark: { color: CATEGORY[0]! },
  axis: {
    labelColor: MUTED,
    titleColor: MUTED,
    titleFontWeight: 'normal',
    labelFontSize: 12,
    titleFontSize: 12,
    domainColor: GRID,
    tickColor: GRID,
    gridColor: GRID,
    labelLimit: 160,
  },
  title: { color: INK, fontSize: 14, anchor: 'start', fontWeight: 600 },
  range: { category: CATEGORY },
};

/** Prefixes the ids of a drawing, so that several fit in one page. */
const prefixIds = (svg: string, id: string): string =>
  svg.replace(/\bid="([^"]+)"/g, `id="${id}-$1"`).replace(/url\(#([^)]+)\)/g, `url(#${id}-$1)`);

/** Vega is loaded by the first drawing: its modules take a third of a second, and most commands that can draw do not. */
async function draw(spec: TopLevelSpec): Promise<string> {
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const logger = vega.logger(vega.Error);
  const { spec: compiled } = compile(spec, { config: CONFIG, logger });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logger });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/**
 * Draws a Vega-Lite chart for a report page: SVG without canvas or browser. Colors are the page's variables, and ids start with `id`. The
 * drawing scales with its column (`viewBox`) up to its own width. Screen readers read `label` in its place.
 */
export async function vegaSvg(spec: TopLevelSpec, id: string, label: string): Promise<string> {
  const svg = await draw(spec);
  const [, width = '0', height = '0'] = /^<svg[^>]*? width="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? [];
  const head = `<svg role="img" aria-label="${escapeAttribute(label)}" viewBox="0 0 ${width} ${height}" style="max-width:${width}px" xmlns="http://www.w3.org/2000/svg">`;
  return prefixIds(svg.replace(/^<svg[^>]*>/, head), id);
}

/** Draws a Vega-Lite chart for an SVG file of its own: light colors on white, size in pixels. */
export async function standaloneSvg(spec: TopLevelSpec): Promise<string> {
  return lightColors(await draw({ background: 'white', padding: 8, ...spec }));
}

/** Puts light colors in the place of the page's variables, for a drawing that stands alone. */
export const lightColors = (svg: string): string =>
  svg.replace(/var\((--[\w-]+)\)/g, (_, name: string) => LIGHT[name] ?? 'currentColor');

export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export const escapeAttribute = (text: string): string => escapeHtml(text).replaceAll('"', '&quot;');
