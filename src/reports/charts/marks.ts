import type { TopLevelSpec } from 'vega-lite';
import type { Axis, BarsSection, CurveSection, DifferencesSection, ScatterSection } from '../report-model.ts';
import { type ChartWidth, INK, MUTED, vegaSvg, WIDTHS } from './vega.ts';

type Layer = Extract<TopLevelSpec, { layer: unknown[] }>['layer'][number];

const PADDING = 4;

/** Fits axes, titles and padding into the width of the chart. */
const AUTOSIZE = { type: 'fit', contains: 'padding' } as const;

/** Returns ticks 1, 2, 5, 10, 20 … within the range of the values: by default a logarithmic axis has ten lines a decade. */
function ticks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const decades = Array.from(
    { length: 2 + Math.ceil(Math.log10(high / low)) },
    (_, i) => Math.floor(Math.log10(low)) + i,
  );
  const all = decades.flatMap((decade) => [1, 2, 5].map((step) => step * 10 ** decade));
  return all.filter((step) => step >= low / 2 && step <= high * 2);
}

const quantitative = (field: 'x' | 'y', axis: Axis, values: readonly number[]) => {
  const logarithmic = axis.logarithmic === true;
  return {
    field,
    type: 'quantitative',
    title: axis.label,
    scale: { type: logarithmic ? 'log' : 'linear', zero: false, nice: !logarithmic, padding: 30 },
    axis: logarithmic ? { values: ticks(values), format: '~s' } : { tickCount: 5 },
  } as const;
};

const axesOf = (
  { x, y }: { readonly x: Axis; readonly y: Axis },
  points: readonly { readonly x: number; readonly y: number }[],
) => ({
  x: quantitative(
    'x',
    x,
    points.map((point) => point.x),
  ),
  y: quantitative(
    'y',
    y,
    points.map((point) => point.y),
  ),
});

/** Draws grouped bars: groups go down in the narrow width, across in the wide one. */
export function barsSvg(section: BarsSection, width: ChartWidth, id: string): Promise<string> {
  const values = section.series.flatMap(({ name, values }) =>
    values.map((value, i) => ({ series: name, group: section.groups[i]!, value })),
  );
  const order = section.series.map(({ name }) => name);
  const along = {
    field: 'group',
    type: 'nominal',
    sort: null,
    title: null,
    axis: { labelAngle: 0, domain: false, ticks: false, labelPadding: 6 },
    scale: { paddingInner: 0.25 },
  } as const;
  const amount = {
    field: 'value',
    type: 'quantitative',
    title: section.measure,
    axis: { format: '.1f', tickCount: 5, domain: false },
  } as const;
  const offset = { field: 'series', sort: order } as const;
  const wide = width === 'wide';
  const spec: TopLevelSpec = {
    data: { values },
    width: WIDTHS[width],
    height: wide ? 280 : 26 * section.groups.length * Math.max(3, section.series.length / 2),
    padding: PADDING,
    autosize: AUTOSIZE,
    mark: { type: 'bar', cornerRadiusEnd: 2 },
    encoding: {
      ...(wide ? { x: along, xOffset: offset, y: amount } : { y: along, yOffset: offset, x: amount }),
      color: { field: 'series', type: 'nominal', sort: order, legend: null },
    },
  };
  return vegaSvg(spec, id, `${section.title}: bars of ${section.measure}`);
}

type Point = ScatterSection['points'][number];

/** Area that a point or a name covers: an interval on one line. */
interface Box {
  readonly from: number;
  readonly to: number;
  readonly y: number;
}

interface Label {
  readonly point: Point;
  readonly onRight: boolean;
  readonly dy: number;
}

const LINE = 15;

/** Vertical offsets to try for a name, nearest first. */
const SHIFTS = [0, -LINE, LINE, -2 * LINE, 2 * LINE, -3 * LINE, 3 * LINE];

/** Places names beside their points and moves them up or down until none overlaps. Positions are estimates: the scale is Vega's. */
function placeLabels(points: ScatterSection['points'], x: Axis, width: number, height: number): Label[] {
  const along = (value: number): number => (x.logarithmic === true ? Math.log(value) : value);
  const place = (values: readonly number[], value: number, room: number): number => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return high > low ? ((value - low) / (high - low)) * room : room / 2;
  };
  const xs = points.map((point) => along(point.x));
  const ys = points.map((point) => point.y);
  const spot = (point: Point): Box => {
    const at = place(xs, along(point.x), width - 110);
    return { from: at - 6, to: at + 6, y: height - 90 - place(ys, point.y, height - 90) };
  };
  const taken = points.map(spot);
  const free = (box: Box, own: Box): boolean =>
    taken.every(
      (t) =>
        (t.from === own.from && t.y === own.y) || t.from >= box.to || box.from >= t.to || Math.abs(t.y - box.y) >= LINE,
    );
  return points.map((point) => {
    const own = spot(point);
    const length = 7 * point.name.length + 6;
    const onRight = own.to + length < width - 60;
    const [from, to] = onRight ? [own.to, own.to + length] : [own.from - length, own.from];
    const dy = SHIFTS.find((shift) => free({ from, to, y: own.y + shift }, own)) ?? 0;
    taken.push({ from, to, y: own.y + dy });
    return { point, onRight, dy };
  });
}

const labelLayer = ({ point, onRight, dy }: Label): Layer => ({
  data: { values: [point] },
  mark: {
    type: 'text',
    align: onRight ? 'left' : 'right',
    dx: onRight ? 9 : -9,
    dy,
    fontSize: 12,
    color: INK,
    text: point.name,
  },
});

/** Draws points with their names beside them. */
export function scatterSvg(section: ScatterSection, width: ChartWidth, id: string): Promise<string> {
  const height = width === 'wide' ? 360 : 300;
  const labels = placeLabels(section.points, section.x, WIDTHS[width], height);
  const spec: TopLevelSpec = {
    data: { values: [...section.points] },
    width: WIDTHS[width],
    height,
    padding: PADDING,
    autosize: AUTOSIZE,
    encoding: axesOf(section, section.points),
    layer: [
      { mark: { type: 'point', filled: true, size: 90, opacity: 1, color: 'var(--c0)' } },
      ...labels.map(labelLayer),
    ],
  };
  return vegaSvg(spec, id, `${section.title}: ${section.y.label} against ${section.x.label}`);
}

/** Draws lines through points in their order. */
export function curveSvg(section: CurveSection, width: ChartWidth, id: string): Promise<string> {
  const values = section.lines.flatMap(({ name, points }) => points.map((point, i) => ({ name, i, ...point })));
  const spec: TopLevelSpec = {
    data: { values },
    width: WIDTHS[width],
    height: width === 'wide' ? 340 : 280,
    padding: PADDING,
    autosize: AUTOSIZE,
    encoding: axesOf(section, values),
    layer: [
      {
        mark: { type: 'line', point: { filled: true, size: 60, opacity: 1 }, strokeWidth: 2 },
        encoding: {
          order: { field: 'i' },
          color: {
            field: 'name',
            type: 'nominal',
            sort: null,
            legend: null,
          },
        },
      },
      {
        transform: [{ filter: 'isValid(datum.label)' }],
        mark: { type: 'text', align: 'right', dx: -5, dy: -9, fontSize: 11, color: MUTED },
        encoding: { text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
  return vegaSvg(spec, id, `${section.title}: ${section.y.label} against ${section.x.label}`);
}

/** Draws every query's difference as one thin bar, sorted. */
export function differencesSvg(section: DifferencesSection, width: ChartWidth, id: string): Promise<string> {
  const values = [...section.all].sort((a, b) => b - a).map((difference, i) => ({ i, difference }));
  const spec: TopLevelSpec = {
    data: { values },
    width: WIDTHS[width],
    height: 180,
    padding: PADDING,
    autosize: AUTOSIZE,
    mark: { type: 'bar' },
    encoding: {
      x: { field: 'i', type: 'ordinal', axis: null, scale: { paddingInner: values.length > 150 ? 0 : 0.15 } },
      y: {
        field: 'difference',
        type: 'quantitative',
        title: `difference in ${section.measure}`,
        axis: { format: '+.2f', tickCount: 5, domain: false },
      },
      color: { condition: { test: 'datum.difference < 0', value: 'var(--worse)' }, value: 'var(--better)' },
    },
  };
  return vegaSvg(spec, id, `${section.title}: difference of each query, sorted`);
}
