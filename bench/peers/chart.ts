import type { TopLevelSpec } from 'vega-lite';
import { CATEGORY, INK, standaloneSvg } from '../../src/reports/charts/vega.ts';
import { median } from '../load/figures.ts';
import type { Found } from './report.ts';

/** Draws the pairs a second of all programs that were timed as bars with their range, one SVG file. */
export function peersSvg({ results, pairs }: Found): Promise<string> {
  const values = results
    .filter(({ seconds }) => seconds.length > 0)
    .map(({ title, given, isOurs, seconds }) => ({
      title: given.endsWith('tokens') ? `${title} (${given})` : title,
      rate: pairs / median(seconds),
      low: pairs / Math.max(...seconds),
      high: pairs / Math.min(...seconds),
      side: isOurs ? 'Winnow' : 'others',
    }))
    .toSorted((a, b) => b.rate - a.rate);
  const y = { field: 'title', type: 'nominal', sort: null, title: null, axis: { labelLimit: 500 } } as const;
  const x = (field: string) => ({ field, type: 'quantitative', title: 'pairs a second' }) as const;
  const color = {
    field: 'side',
    type: 'nominal',
    legend: null,
    scale: { domain: ['Winnow', 'others'], range: [CATEGORY[0]!, CATEGORY[7]!] },
  } as const;
  const spec: TopLevelSpec = {
    width: 460,
    height: { step: 22 },
    data: { values },
    layer: [
      { mark: { type: 'bar', cornerRadiusEnd: 2 }, encoding: { y, x: x('rate'), color } },
      { mark: { type: 'rule', strokeWidth: 1.5, color: INK }, encoding: { y, x: x('low'), x2: { field: 'high' } } },
    ],
  };
  return standaloneSvg(spec);
}
