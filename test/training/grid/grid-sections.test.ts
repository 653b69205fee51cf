import { describe, expect, it } from 'vitest';
import type { TableSection } from '../../../src/reports/report-model.ts';
import { differencesTable, type Row } from '../../../src/training/grid/grid-sections.ts';

/** Makes a row whose queries lie around a mean: each by its own height, which all objectives share, and a little noise. */
const row = (objective: string, mean: number, place: number, queries = 20): Row => ({
  backbone: 'small',
  objective,
  values: [[mean]],
  queries: [Array.from({ length: queries }, (_, i) => mean + 0.3 * Math.sin(i) + 0.001 * Math.cos(7 * i + place))],
  runs: [],
});

const textsOf = ([table]: readonly TableSection[]) => table?.rows.map((cells) => cells.map(({ text }) => text));

describe('differences between objectives over queries', () => {
  it('names what is ahead of what, and groups those with the same behind them', () => {
    const rows = [row('BCE', 0.4, 0), row('Hinge', 0.5, 1), row('InfoNCE', 0.5002, 2), row('ADR-MSE', 0.6, 3)];
    const [texts] = textsOf(differencesTable(['dl19'], rows))!;
    expect(texts!.toSpliced(2, 1)).toEqual(['small', 'dl19', 'ADR-MSE > BCE, Hinge, InfoNCE; Hinge, InfoNCE > BCE']);
    expect(Number(texts![2])).toBeLessThan(0.1);
  });

  it('says where nothing is ahead', () => {
    const [texts] = textsOf(differencesTable(['dl19'], [row('BCE', 0.5, 0), row('Hinge', 0.50001, 1)]))!;
    expect(texts![3]).toBe('none');
  });

  it.each([
    ['one objective', [row('BCE', 0.5, 0)]],
    ['different numbers of queries', [row('BCE', 0.5, 0), row('Hinge', 0.6, 1, 19)]],
    ['no values of queries', [row('BCE', 0.5, 0, 0), row('Hinge', 0.6, 1, 0)]],
    ['one query', [row('BCE', 0.5, 0, 1), row('Hinge', 0.6, 1, 1)]],
  ])('makes no table of %s', (_, rows) => {
    expect(differencesTable(['dl19'], rows)).toEqual([]);
  });
});
