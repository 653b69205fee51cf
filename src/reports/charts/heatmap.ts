import type { TopLevelSpec } from 'vega-lite';
import { share } from '../format.ts';
import type { HeatmapSection } from '../report-model.ts';
import { type ChartWidth, HEAT, HEAT_STEPS, vegaSvg, WIDTHS } from './vega.ts';

type Panel = HeatmapSection['panels'][number];

interface Square {
  readonly row: string;
  readonly column: string;
  readonly value: number | null;
  readonly text: string;
  /** Step of the color scale, for the color of the text on it. */
  readonly high: boolean;
}

function squares(section: HeatmapSection, panel: Panel): Square[] {
  const known = panel.values.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return section.rows.flatMap((row, i) =>
    section.columns.map((column, j) => {
      const value = panel.values[i]![j]!;
      const text = value === null ? '–' : share(value, section.digits);
      return { row, column, value, text, high: value !== null && (value - low) / (high - low) >= 5 / HEAT_STEPS };
    }),
  );
}

const FONT = 12;
/** Estimated width of a character at that size, rounded up: fonts are not measured here. */
const CHARACTER = 6.7;
const ANGLE = 40;

const lengthOf = (label: string): number => label.length * CHARACTER;

interface Frame {
  readonly angle: number;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly plot: number;
}

/** Room for the labels around the squares: slanted over narrow columns, level over wide ones. */
function frameOf({ rows, columns }: HeatmapSection, total: number): Frame {
  const left = 10 + Math.max(...rows.map(lengthOf));
  const longest = Math.max(...columns.map(lengthOf));
  const step = (total - left) / columns.length;
  if (longest < step - 4) return { angle: 0, left, top: 26, right: 2, plot: total - left - 2 };
  const [sin, cos] = [Math.sin((ANGLE * Math.PI) / 180), Math.cos((ANGLE * Math.PI) / 180)];
  const beyond = columns.map((label, j) => lengthOf(label) * cos - (columns.length - 1 - j) * step - step / 2);
  const right = Math.max(2, 10 + Math.max(...beyond));
  return { angle: -ANGLE, left, top: 18 + longest * sin, right, plot: total - left - right };
}

/** One panel: rows down, columns across, the value written in its square. */
export function heatmapSvg(section: HeatmapSection, panel: Panel, width: ChartWidth, id: string): Promise<string> {
  const frame = frameOf(section, WIDTHS[width]);
  const rowHeight = width === 'wide' ? 32 : 28;
  const labels = {
    title: null,
    domain: false,
    ticks: false,
    labelPadding: 6,
    labelLimit: 0,
    labelFontSize: FONT,
  } as const;
  const spec: TopLevelSpec = {
    data: { values: squares(section, panel) },
    autosize: 'none',
    width: frame.plot,
    height: rowHeight * section.rows.length,
    padding: { left: frame.left, right: frame.right, top: frame.top, bottom: 2 },
    encoding: {
      x: {
        field: 'column',
        type: 'nominal',
        sort: null,
        scale: { paddingInner: 0.04, paddingOuter: 0 },
        axis: { ...labels, orient: 'top', labelAngle: frame.angle },
      },
      y: { field: 'row', type: 'nominal', sort: null, scale: { paddingInner: 0.07, paddingOuter: 0 }, axis: labels },
    },
    layer: [
      {
        mark: { type: 'rect', cornerRadius: 3 },
        encoding: {
          color: {
            field: 'value',
            type: 'quantitative',
            legend: null,
            scale: { type: 'quantize', range: HEAT, nice: false, zero: false },
          },
        },
      },
      {
        mark: { type: 'text', fontSize: width === 'wide' ? 13 : 11.5 },
        encoding: {
          text: { field: 'text', type: 'nominal' },
          color: { condition: { test: 'datum.high', value: 'var(--on-high)' }, value: 'var(--on-low)' },
        },
      },
    ],
  };
  const size = `${section.rows.length} rows and ${section.columns.length} columns`;
  return vegaSvg(spec, id, `${section.title}, ${panel.title}: a color scale of ${size}`);
}
