import type { TopLevelSpec } from 'vega-lite';
import { share } from '../format.ts';
import type { HeatmapSection } from '../model.ts';
import { type ChartWidth, HEAT, HEAT_STEPS, SURFACE, vegaSvg, WIDTHS } from './vega.ts';

type Panel = HeatmapSection['panels'][number];

interface Square {
  readonly row: string;
  readonly column: string;
  readonly value: number | null;
  readonly text: string;
  /** Step of the colour scale, for the colour of the text on it. */
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

/** Room for the row labels, by their longest. */
const labelRoom = (labels: readonly string[], limit: number): number =>
  Math.min(limit, 12 + 7 * Math.max(...labels.map((label) => label.length)));

/** One panel: rows down, columns across, the value written in its square. */
export function heatmapSvg(section: HeatmapSection, panel: Panel, width: ChartWidth, id: string): Promise<string> {
  const wide = width === 'wide';
  const room = labelRoom(section.rows, wide ? 160 : 100);
  const spec: TopLevelSpec = {
    data: { values: squares(section, panel) },
    width: WIDTHS[width] - room - 8,
    height: { step: wide ? 32 : 28 },
    padding: { left: 0, right: 4, top: 4, bottom: 4 },
    encoding: {
      x: {
        field: 'column',
        type: 'nominal',
        sort: null,
        scale: { paddingInner: 0.04 },
        axis: { orient: 'top', title: null, labelAngle: wide ? 0 : -40, domain: false, ticks: false, labelPadding: 6 },
      },
      y: {
        field: 'row',
        type: 'nominal',
        sort: null,
        scale: { paddingInner: 0.06 },
        axis: {
          title: null,
          domain: false,
          ticks: false,
          labelPadding: 6,
          labelLimit: 0,
          minExtent: room,
          maxExtent: room,
        },
      },
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
        mark: { type: 'text', fontSize: wide ? 13 : 11.5 },
        encoding: {
          text: { field: 'text', type: 'nominal' },
          color: { condition: { test: 'datum.high', value: 'var(--on-high)' }, value: 'var(--on-low)' },
        },
      },
    ],
    background: SURFACE,
  };
  return vegaSvg(
    { ...spec, background: 'transparent' },
    id,
    `${section.title}, ${panel.title}: a colour scale of ${section.rows.length} rows and ${section.columns.length} columns`,
  );
}
