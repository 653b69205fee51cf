import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixed, pValue, share, signed } from '../../src/reports/format.ts';
import { analyzeGrid, gridComparison } from '../../src/reports/grid-comparison.ts';
import { PAPER_GRID, readGridData } from '../../src/reports/grid-data.ts';
import { captionOf } from '../../src/reports/section-text.ts';
import { SHARED, temporaryFolder } from '../evaluation/formats/temporary-folder.ts';

const folder = temporaryFolder();
const WINNOW = join(import.meta.dirname, '..', '..', 'bin', 'winnow.mjs');

const report = (...args: string[]) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [WINNOW, 'report', ...args]);
  return { out: stdout.toString(), error: stderr.toString(), status };
};

describe('the published grid, recomputed to the printed figure', () => {
  const { objectives, backbones, columnMeans } = analyzeGrid(PAPER_GRID);
  const printed = ({ names, averageRanks }: typeof objectives) =>
    Object.fromEntries(names.map((name, i) => [name, fixed(averageRanks[i]!, 2)]));

  it('objectives over 54 blocks', () => {
    expect(printed(objectives)).toEqual({
      InfoNCE: '1.83',
      MarginMSE: '2.17',
      DistillRankNET: '3.61',
      'ADR-MSE': '3.66',
      Hinge: '3.99',
      BCE: '5.74',
    });
    expect(objectives.blocks).toBe(54);
    expect(fixed(objectives.statistic, 1)).toBe('152.0');
    expect(fixed(objectives.criticalDifference, 3)).toBe('1.026');
    expect(objectives.cliques).toEqual([
      ['InfoNCE', 'MarginMSE'],
      ['DistillRankNET', 'ADR-MSE', 'Hinge'],
    ]);
  });

  it('backbones over 36 blocks', () => {
    expect(printed(backbones)).toEqual({
      ELECTRA: '1.97',
      'Ettin-150M': '2.69',
      'MiniLM-L12': '3.11',
      'BERT-Base': '3.79',
      RoBERTa: '5.12',
      DeBERTaV3: '5.62',
      'Ettin-68M': '5.76',
      'Ettin-32M': '7.94',
      'Ettin-17M': '8.97',
    });
    expect(backbones.blocks).toBe(36);
    expect(fixed(backbones.statistic, 1)).toBe('215.8');
    expect(fixed(backbones.criticalDifference, 3)).toBe('2.002');
  });

  it.each([
    ['InfoNCE', '.456 .732 .718 .484 .525 .452'],
    ['MarginMSE', '.449 .708 .700 .499 .527 .454'],
    ['DistillRankNET', '.401 .705 .687 .454 .489 .431'],
    ['ADR-MSE', '.398 .698 .685 .452 .486 .430'],
    ['Hinge', '.427 .699 .687 .463 .505 .423'],
    ['BCE', '.396 .629 .622 .413 .459 .331'],
  ])('column means of %s', (objective, means) => {
    expect(columnMeans[objective]!.map((value) => share(value)).join(' ')).toBe(means);
  });

  const design = join(SHARED, 'design', 'EVALUATION.md');

  it.skipIf(!existsSync(design))('has every row of the table it was taken from (needs ../shared)', () => {
    const table = readFileSync(design, 'utf8').split('### 1.6')[1]!.split('Average ranks')[0]!.replaceAll('**', '');
    const rows = [...table.matchAll(/^\| ([\w-]*) ?\| ([\w-]+) \|((?: \.\d+ \|){6})$/gm)];
    expect(rows).toHaveLength(54);
    rows.forEach(([, , objective, values], i) => {
      expect(PAPER_GRID.rows[i]).toMatchObject({ objective, values: values!.match(/\.\d+/g)!.map(Number) });
    });
  });
});

describe('figures', () => {
  it.each([
    [5.625, 2, '5.62'],
    [5.125, 2, '5.12'],
    [5.375, 2, '5.38'],
    [0.5, 0, '0'],
    [2.675, 2, '2.67'],
    [1.005, 2, '1.00'],
    [-0.125, 2, '-0.12'],
    [152.0397, 1, '152.0'],
  ])('%f with %i decimals is %s, as Python prints it', (value, digits, text) => {
    expect(fixed(value, digits)).toBe(text);
  });

  it('shares, differences and p-values', () => {
    expect([share(0.4557), share(1), share(-0.25), signed(0.012), signed(-0.5)]).toEqual([
      '.456',
      '1.000',
      '-.250',
      '+.012',
      '−.500',
    ]);
    expect([pValue(0.04), pValue(4.9e-31), pValue(0), pValue(Number.NaN)]).toEqual([
      '.040',
      '4.9e-31',
      '< 1e-300',
      'n/a',
    ]);
  });
});

describe('winnow report', () => {
  it('prints the figures and draws on the terminal', () => {
    const { out, status } = report();
    expect(status).toBe(0);
    for (const text of [
      '152.0',
      '1.026',
      '215.8',
      '2.002',
      '1.83  InfoNCE',
      '8.97  Ettin-17M',
      '━━━━',
      '.456  .732  .718',
    ])
      expect(out).toContain(text);
    expect(out).not.toContain('\u001b');
  });

  it('JSON has the results with all digits', () => {
    const { data } = JSON.parse(report('--format', 'json').out);
    expect(data.objectives.statistic).toBeCloseTo(152.0396825396, 9);
    expect(data.backbones.criticalDifference).toBeCloseTo(2.002158326, 8);
    expect(data.objectives.names).toEqual(PAPER_GRID.objectives);
    expect(data.columnMeans.InfoNCE[0]).toBeCloseTo(0.4556, 3);
  });

  it('writes page, Markdown and JSON into a folder', () => {
    const { out } = report('--out', join(folder.path, 'out'));
    expect(out.trim().split('\n')).toEqual(
      ['report.html', 'report.md', 'report.json'].map((name) => join(folder.path, 'out', name)),
    );
    expect(readFileSync(join(folder.path, 'out', 'report.md'), 'utf8')).toContain('| InfoNCE | 1.83 | a |');
    expect(readFileSync(join(folder.path, 'out', 'report.html'), 'utf8')).toContain('CD = 1.026');
  });

  it('has the ranks of each backbone on each benchmark, shared where values are equal', () => {
    const own = {
      ...PAPER_GRID,
      backbones: ['small', 'large'],
      objectives: ['BCE', 'Hinge', 'InfoNCE'],
      benchmarks: ['one', 'two'],
      benchmarkNames: { two: 'the second' },
      rows: [
        { backbone: 'small', objective: 'BCE', values: [0.1, 0.4] },
        { backbone: 'small', objective: 'Hinge', values: [0.2, 0.4] },
        { backbone: 'small', objective: 'InfoNCE', values: [0.3, 0.2] },
        { backbone: 'large', objective: 'BCE', values: [0.5, 0.1] },
        { backbone: 'large', objective: 'Hinge', values: [0.6, 0.3] },
        { backbone: 'large', objective: 'InfoNCE', values: [0.7, 0.2] },
      ],
    };
    const section = gridComparison(own).sections.find(({ title }) => title === 'Ranks in each block');
    if (section?.kind !== 'table') throw new Error('no table of ranks');
    expect(section.columns.map(({ label }) => label)).toEqual(['backbone', 'benchmark', 'Hinge', 'InfoNCE', 'BCE']);
    expect(section.rows.map((row) => row.map(({ text }) => text))).toEqual([
      ['small', 'one', '2', '1', '3'],
      ['small', 'the second', '1.5', '3', '1.5'],
      ['large', 'one', '2', '1', '3'],
      ['large', 'the second', '1', '2', '3'],
    ]);
    expect(section.rows.map((row) => row.findIndex(({ marks }) => marks?.includes('rowBest')))).toEqual([3, 2, 3, 2]);
    const means = gridComparison(own).sections.find(({ title }) => title === 'Mean ranks on each backbone');
    if (means?.kind !== 'table') throw new Error('no table of mean ranks');
    expect(means.rows.map((row) => row.map(({ text, marks = [] }) => text + marks.join()))).toEqual([
      ['small', '1.75rowBest', '2.00', '2.25'],
      ['large', '1.50rowBest', '1.50rowBest', '3.00'],
    ]);
    expect(captionOf(means)).toBe('Mean over the 2 benchmarks, 1 the best. Bold: best of its row.');
  });

  it('reads a grid of one’s own', async () => {
    const own = { ...PAPER_GRID, backbones: PAPER_GRID.backbones.slice(0, 2), rows: PAPER_GRID.rows.slice(0, 12) };
    const path = await folder.put({ 'grid.json': JSON.stringify(own) });
    expect(gridComparison(await readGridData(path)).title).toBe('2 backbones × 6 objectives');
    expect(report('--data', path).out).toContain('2 backbones × 6 objectives');
  });

  it.each([
    [
      { ...PAPER_GRID, rows: PAPER_GRID.rows.slice(1) },
      'Ettin-17M, BCE, MSM: expected a number in every cell of the grid, got nothing',
    ],
    [{ ...PAPER_GRID, backbones: ['one'] }, 'backbones: expected a grid of results'],
    [[], 'top level: expected a grid of results'],
  ])('refuses a faulty grid (%#)', async (grid, message) => {
    const got = report('--data', await folder.put({ 'faulty.json': JSON.stringify(grid) }));
    expect(got.status).toBe(2);
    expect(got.error).toContain(message);
  });
});
