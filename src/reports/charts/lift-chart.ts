import type { TopLevelSpec } from 'vega-lite';
import { MUTED, standaloneSvg } from './vega.ts';

/** The lift of an arm over control at one time, in percent, with the bounds of its interval. */
export interface LiftPoint {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly arm: string;
  readonly lift: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Returns the range of lifts that is drawn: the first quarter is left out, because early bounds are so wide that the rest would be flat.
 */
function drawnRange(points: readonly LiftPoint[]): [number, number] {
  const late = points.slice(Math.floor(points.length / 4));
  const reach = Math.max(1, ...late.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]));
  return [-reach, reach];
}

/** Draws the lift of a metric over time, with a band for the interval, as one SVG file. `points` are in order of time. */
export function liftSvg(metric: string, points: readonly LiftPoint[]): Promise<string> {
  const x = { field: 'at', type: 'temporal', title: null } as const;
  const scale = { domain: drawnRange(points), clamp: true };
  const color = { field: 'arm', type: 'nominal', title: 'arm' } as const;
  const title = `${metric}: lift over control, %`;
  const spec: TopLevelSpec = {
    width: 640,
    height: 280,
    data: { values: [...points] },
    layer: [
      { mark: { type: 'rule', color: MUTED }, encoding: { y: { datum: 0, type: 'quantitative' } } },
      {
        mark: { type: 'area', opacity: 0.2, clip: true },
        encoding: { x, y: { field: 'low', type: 'quantitative', title, scale }, y2: { field: 'high' }, color },
      },
      { mark: { type: 'line', clip: true }, encoding: { x, y: { field: 'lift', type: 'quantitative', scale }, color } },
    ],
  };
  return standaloneSvg(spec);
}
