import { cliques } from '../../statistics/friedman.ts';
import { fixed } from '../format.ts';
import type { RanksSection } from '../report-model.ts';
import { type ChartWidth, escapeAttribute, escapeHtml, GRID, INK, MUTED, WIDTHS } from './vega.ts';

type Treatment = RanksSection['treatments'][number];

interface Layout {
  readonly width: number;
  readonly margin: number;
  readonly x: (rank: number) => number;
  readonly axisY: number;
  readonly firstY: number;
  readonly step: number;
  readonly font: number;
}

const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1.2): string =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round"/>`;

const text = (
  x: number,
  y: number,
  content: string,
  anchor: 'start' | 'middle' | 'end',
  fill: string,
  size: number,
): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${fill}" font-size="${size}">${escapeHtml(content)}</text>`;

function axis(section: RanksSection, layout: Layout): string {
  const k = section.treatments.length;
  const { x, axisY, font } = layout;
  const ticks = Array.from({ length: k }, (_, i) => i + 1);
  return [
    line(x(1), axisY, x(k), axisY, MUTED),
    ...ticks.map((rank) => line(x(rank), axisY - 5, x(rank), axisY, MUTED)),
    ...ticks.map((rank) => text(x(rank), axisY - 9, String(rank), 'middle', MUTED, font - 1)),
  ].join('');
}

/** Draws the critical difference as a length of the scale. */
function ruler(section: RanksSection, { x, axisY, font }: Layout): string {
  const [from, to] = [x(1), x(1 + section.criticalDifference)];
  const y = axisY - 36;
  return [
    line(from, y, to, y, INK, 1.6),
    line(from, y - 4, from, y + 4, INK, 1.6),
    line(to, y - 4, to, y + 4, INK, 1.6),
    text(to + 8, y + 4, `CD = ${fixed(section.criticalDifference, 3)}`, 'start', INK, font),
  ].join('');
}

/** Draws an elbow from the rank on the scale to the name at the side: the better half left, the others right. */
function elbow(treatment: Treatment, index: number, count: number, layout: Layout): string {
  const left = index < Math.ceil(count / 2);
  const row = left ? index : count - 1 - index;
  const { x, axisY, firstY, step, font, margin, width } = layout;
  const y = firstY + row * step;
  const at = x(treatment.rank);
  const end = left ? margin : width - margin;
  const label = left
    ? `${treatment.name}  ${fixed(treatment.rank, 2)}`
    : `${fixed(treatment.rank, 2)}  ${treatment.name}`;
  return [
    line(at, axisY, at, y, GRID),
    line(at, y, end, y, GRID),
    `<circle cx="${at.toFixed(1)}" cy="${axisY}" r="3.5" fill="var(--c0)"/>`,
    text(left ? end - 6 : end + 6, y + font / 3, label, left ? 'end' : 'start', INK, font),
  ].join('');
}

/** Draws names on both sides of the scale, as Demšar does. */
function classic(section: RanksSection, width: number): { body: string; height: number } {
  const count = section.treatments.length;
  const groups = cliques(
    section.treatments.map(({ rank }) => rank),
    section.criticalDifference,
  );
  const margin = 190;
  const firstY = 74 + groups.length * 9 + 18;
  const layout: Layout = {
    width,
    margin,
    x: (rank) => margin + 16 + ((rank - 1) / (count - 1)) * (width - 2 * margin - 32),
    axisY: 66,
    firstY,
    step: 24,
    font: 13,
  };
  const bars = groups.map((group, g) => {
    const y = 76 + g * 9;
    const [from, to] = [group[0]!, group.at(-1)!].map((i) => layout.x(section.treatments[i]!.rank));
    return line(from! - 4, y, to! + 4, y, INK, 4);
  });
  const elbows = section.treatments.map((treatment, i) => elbow(treatment, i, count, layout));
  const body = [ruler(section, layout), ...elbows, axis(section, layout), ...bars].join('');
  return { body, height: firstY + Math.ceil(count / 2) * layout.step };
}

/** Draws one row per treatment under the scale for narrow windows; vertical bars join rows that do not differ. */
function stacked(section: RanksSection, width: number): { body: string; height: number } {
  const { treatments } = section;
  const groups = cliques(
    treatments.map(({ rank }) => rank),
    section.criticalDifference,
  );
  const room = 10 + 6.6 * Math.max(...treatments.map(({ name }) => name.length));
  const right = 44 + 9 * groups.length;
  const layout: Layout = {
    width,
    margin: room,
    x: (rank) => room + 8 + ((rank - 1) / (treatments.length - 1)) * (width - room - 14 - right),
    axisY: 62,
    firstY: 84,
    step: 24,
    font: 12,
  };
  const { x, firstY, step, font } = layout;
  const y = (row: number): number => firstY + row * step;
  const rows = treatments.map(({ name, rank }, i) =>
    [
      line(x(1), y(i), x(treatments.length), y(i), GRID),
      text(room - 4, y(i) + 4, name, 'end', INK, font),
      `<circle cx="${x(rank).toFixed(1)}" cy="${y(i)}" r="4" fill="var(--c0)"/>`,
      text(width - right + 36, y(i) + 4, fixed(rank, 2), 'end', MUTED, font),
    ].join(''),
  );
  const bars = groups.map((group, g) => {
    const at = width - 9 * (groups.length - g) + 5;
    return line(at, y(group[0]!) - 5, at, y(group.at(-1)!) + 5, INK, 4);
  });
  const body = [ruler(section, layout), axis(section, layout), ...rows, ...bars].join('');
  return { body, height: y(treatments.length - 1) + 14 };
}

/** Draws the critical-difference diagram (Demšar 2006): mean ranks on a scale, bars over those that do not differ significantly. */
export function criticalDifferenceSvg(section: RanksSection, width: ChartWidth): string {
  const pixels = WIDTHS[width];
  const { body, height } = (width === 'wide' ? classic : stacked)(section, pixels);
  const label = `${section.title}: ${section.treatments.map(({ name, rank }) => `${name} ${fixed(rank, 2)}`).join(', ')}; critical difference ${fixed(section.criticalDifference, 3)}`;
  return `<svg role="img" aria-label="${escapeAttribute(label)}" viewBox="0 0 ${pixels} ${height}" style="max-width:${pixels}px" font-family="system-ui, sans-serif" xmlns="http://www.w3.org/2000/svg">${body}</svg>`;
}
