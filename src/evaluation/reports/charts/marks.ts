import type { TopLevelSpec } from 'vega-lite';
import type { Axis, BarsSection, CurveSection, DifferencesSection, ScatterSection } from '../model.ts';
import { type ChartWidth, INK, MUTED, vegaSvg, WIDTHS } from './vega.ts';

type Layer = Extract<TopLevelSpec, { layer: unknown[] }>['layer'][number];

const PADDING = 4;

/** Width of the plot itself when axes, titles and padding are to fit in too. */
const AUTOSIZE = { type: 'fit', contains: 'padding' } as const;

const quantitative = (field: string, axis: Axis, zero: boolean) =>
  ({
    field,
    type: 'quantitative',
    title: axis.label,
    scale: { type: axis.logarithmic === true ? 'log' : 'linear', nice: true, zero: zero && axis.logarithmic !== true },
    axis: { format: '~g', tickCount: 5 },
  }) as const;

/** Grouped bars: on a phone the groups go down the page, on a desktop across. */
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
      color: { field: 'series', type: 'nominal', sort: order, legend: { columns: wide ? order.length : 2 } },
    },
  };
  return vegaSvg(spec, id, `${section.title}: bars of ${section.measure}`);
}

/** Points with their names beside them. */
export function scatterSvg(section: ScatterSection, width: ChartWidth, id: string): Promise<string> {
  const right = [...section.points].sort((a, b) => b.x - a.x).slice(0, Math.ceil(section.points.length / 2));
  const names = new Set(right.map(({ name }) => name));
  const text = (onRight: boolean): Layer => ({
    transform: [{ filter: `datum.right === ${onRight}` }],
    mark: { type: 'text', align: onRight ? 'right' : 'left', dx: onRight ? -9 : 9, fontSize: 12, color: INK },
    encoding: { text: { field: 'name', type: 'nominal' } },
  });
  const spec: TopLevelSpec = {
    data: { values: section.points.map((point) => ({ ...point, right: names.has(point.name) })) },
    width: WIDTHS[width],
    height: width === 'wide' ? 360 : 300,
    padding: PADDING,
    autosize: AUTOSIZE,
    encoding: { x: quantitative('x', section.x, false), y: quantitative('y', section.y, false) },
    layer: [
      { mark: { type: 'point', filled: true, size: 90, opacity: 1, color: 'var(--c0)' } },
      text(true),
      text(false),
    ],
  };
  return vegaSvg(spec, id, `${section.title}: ${section.y.label} against ${section.x.label}`);
}

/** Lines through points in their order. */
export function curveSvg(section: CurveSection, width: ChartWidth, id: string): Promise<string> {
  const values = section.lines.flatMap(({ name, points }) => points.map((point, i) => ({ name, i, ...point })));
  const spec: TopLevelSpec = {
    data: { values },
    width: WIDTHS[width],
    height: width === 'wide' ? 340 : 280,
    padding: PADDING,
    autosize: AUTOSIZE,
    encoding: { x: quantitative('x', section.x, false), y: quantitative('y', section.y, false) },
    layer: [
      {
        mark: { type: 'line', point: { filled: true, size: 60, opacity: 1 }, strokeWidth: 2 },
        encoding: {
          order: { field: 'i' },
          color: {
            field: 'name',
            type: 'nominal',
            sort: null,
            legend: section.lines.length > 1 ? { columns: width === 'wide' ? 4 : 2 } : null,
          },
        },
      },
      {
        transform: [{ filter: 'isValid(datum.label)' }],
        mark: { type: 'text', dy: -12, fontSize: 11, color: MUTED },
        encoding: { text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
  return vegaSvg(spec, id, `${section.title}: ${section.y.label} against ${section.x.label}`);
}

/** Every query's difference as one thin bar, sorted: how many gain, how many lose, how far. */
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
