import type { TopLevelSpec } from 'vega-lite';
import { standaloneSvg } from './vega.ts';

/** One line of a reliability diagram: what was predicted and observed in each bin. */
interface ReliabilityLine {
  readonly name: string;
  readonly bins: readonly { readonly predicted: number; readonly observed: number; readonly count: number }[];
}

const DIAGONAL = { values: [0, 1].map((p) => ({ predicted: p, observed: p })) };

/** Draws predicted probabilities against the part that is relevant as one SVG file, with the line of perfect calibration; larger points have more pairs. */
export function reliabilitySvg(title: string, lines: readonly ReliabilityLine[]): Promise<string> {
  const values = lines.flatMap(({ name, bins }) => bins.map((bin) => ({ name, ...bin })));
  const unit = { scale: { domain: [0, 1] }, type: 'quantitative' as const };
  const x = { ...unit, field: 'predicted', title: 'probability' };
  const y = { ...unit, field: 'observed', title: 'part that is relevant' };
  const color = { field: 'name', type: 'nominal', sort: null, title: null } as const;
  const spec: TopLevelSpec = {
    title,
    width: 420,
    height: 320,
    data: { values },
    layer: [
      { data: DIAGONAL, mark: { type: 'line', strokeDash: [4, 4], color: '#888' }, encoding: { x, y } },
      { mark: { type: 'line' }, encoding: { x, y, color } },
      {
        mark: { type: 'point', filled: true, opacity: 1 },
        encoding: { x, y, color, size: { field: 'count', type: 'quantitative', title: 'pairs' } },
      },
    ],
  };
  return standaloneSvg(spec);
}
