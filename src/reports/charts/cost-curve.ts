import type { TopLevelSpec } from 'vega-lite';
import { standaloneSvg } from './vega.ts';

/** What a cascade reaches for its cost, for several first stages. */
interface CostCurve {
  readonly measure: string;
  readonly lines: readonly {
    readonly name: string;
    /** Milliseconds of processor time a query, the measure, and how many passages the last stage sees. */
    readonly points: readonly { readonly ms: number; readonly value: number; readonly keep: number }[];
  }[];
}

/** Draws a measure against processor time as one SVG file, a line a first stage. Beside points: passages that the last stage sees. */
export function costCurveSvg({ measure, lines }: CostCurve): Promise<string> {
  const values = lines.flatMap(({ name, points }) => points.map((point) => ({ name, ...point })));
  const x = { field: 'ms', type: 'quantitative', title: 'ms of processor time a query' } as const;
  const y = { field: 'value', type: 'quantitative', title: measure, scale: { zero: false } } as const;
  const color = { field: 'name', type: 'nominal', sort: null, title: null } as const;
  const spec: TopLevelSpec = {
    width: 640,
    height: 320,
    data: { values },
    layer: [
      { mark: { type: 'line', point: true }, encoding: { x, y, color, order: { field: 'keep' } } },
      {
        mark: { type: 'text', dy: -9, fontSize: 9 },
        encoding: { x, y, color, text: { field: 'keep', type: 'quantitative' } },
      },
    ],
  };
  return standaloneSvg(spec);
}
