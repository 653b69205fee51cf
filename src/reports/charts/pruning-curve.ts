import type { TopLevelSpec } from 'vega-lite';
import { standaloneSvg } from './vega.ts';

/** What pruning does to a measure, for several sets. */
interface PruningCurve {
  readonly lines: readonly {
    readonly name: string;
    /** How many times fewer tokens are scored, and the measure. */
    readonly points: readonly { readonly fewer: number; readonly value: number }[];
  }[];
}

/** Draws a measure against the tokens saved as one SVG file, a line a set. */
export function pruningCurveSvg({ lines }: PruningCurve): Promise<string> {
  const values = lines.flatMap(({ name, points }) => {
    const whole = points[0]?.value ?? 0;
    return points.map(({ fewer, value }) => ({ name, fewer, difference: value - whole }));
  });
  const spec: TopLevelSpec = {
    width: 640,
    height: 260,
    data: { values },
    mark: { type: 'line', point: true },
    encoding: {
      x: { field: 'fewer', type: 'quantitative', title: 'times fewer tokens', scale: { zero: false } },
      y: { field: 'difference', type: 'quantitative', title: 'difference in nDCG@10', scale: { zero: false } },
      order: { field: 'fewer' },
      color: { field: 'name', type: 'nominal', sort: null, title: null },
    },
  };
  return standaloneSvg(spec);
}
