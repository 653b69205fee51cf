import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Series } from './series.ts';

const INK = '#1f2933';
const MUTED = '#5f6b7a';
const COLORS = ['#0b6e99', '#b3541e', '#3d7a3d', '#7a3d7a'];

interface Row {
  readonly at: number;
  readonly arm: string;
  readonly lift: number;
  readonly low: number;
  readonly high: number;
}

/** Lifts of a metric over time in percent, with always-valid bounds; points without a lift, or without any spread yet, are left out. */
export function chartRows({ points }: Series, metric: string): readonly Row[] {
  return points.flatMap(({ at, comparisons }) =>
    comparisons.flatMap(({ arm, lift, alwaysValid, metric: of }) => {
      const bounds = alwaysValid.liftInterval;
      if (of !== metric || lift === undefined || !bounds || bounds[0] === bounds[1]) return [];
      return [{ at, arm, lift: 100 * lift, low: 100 * bounds[0], high: 100 * bounds[1] }];
    }),
  );
}

/** The part of the scale that matters: early bounds are so wide that they would flatten the rest. */
function scaleOf(rows: readonly Row[]): readonly [number, number] {
  const late = rows.slice(Math.floor(rows.length / 4));
  const reach = Math.max(1, ...late.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]));
  return [-reach, reach];
}

function specOf(rows: readonly Row[], metric: string): TopLevelSpec {
  const x = { field: 'at', type: 'temporal', title: null } as const;
  const scale = { domain: [...scaleOf(rows)], clamp: true };
  const color = { field: 'arm', type: 'nominal', title: 'arm', scale: { range: COLORS } } as const;
  const title = `${metric}: lift over control, %`;
  return {
    width: 640,
    height: 280,
    data: { values: rows.map((row) => ({ ...row })) },
    layer: [
      { mark: { type: 'rule', color: MUTED }, encoding: { y: { datum: 0, type: 'quantitative' } } },
      {
        mark: { type: 'area', opacity: 0.2, clip: true },
        encoding: { x, y: { field: 'low', type: 'quantitative', title, scale }, y2: { field: 'high' }, color },
      },
      { mark: { type: 'line', clip: true }, encoding: { x, y: { field: 'lift', type: 'quantitative', scale }, color } },
    ],
    config: { font: 'system-ui, sans-serif', axis: { labelColor: MUTED, titleColor: INK }, view: { stroke: null } },
  };
}

/** A metric's lift over time as SVG, always-valid band around it; nothing where there is no lift yet. */
export async function seriesChart(series: Series, metric: string): Promise<string | undefined> {
  const rows = chartRows(series, metric);
  if (rows.length === 0) return undefined;
  const logger = vega.logger(vega.Error);
  const { spec } = compile(specOf(rows, metric), { logger });
  const view = new vega.View(vega.parse(spec), { renderer: 'none', logger });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}
