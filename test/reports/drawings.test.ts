import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { drawingsOf, writeDrawings } from '../../src/reports/drawings.ts';
import { gridComparison } from '../../src/reports/grid-comparison.ts';
import { PAPER_GRID } from '../../src/reports/grid-data.ts';
import { temporaryFolder } from '../evaluation/formats/temporary-folder.ts';
import { SAMPLE } from './sample.ts';

const folder = temporaryFolder();
const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
/** Runs in the browser: what it took the file for. */
const ROOT = `({
  name: document.documentElement.localName,
  errors: document.getElementsByTagName('parsererror').length,
  width: document.documentElement.getBoundingClientRect().width,
})`;
const WINNOW = join(import.meta.dirname, '..', '..', 'bin', 'winnow.mjs');

describe('drawings of a report', async () => {
  const grid = await drawingsOf(gridComparison(PAPER_GRID));
  const sample = await drawingsOf(SAMPLE);

  it('are one for each chart, by the title of its section', () => {
    expect([...grid.keys()]).toEqual([
      'objectives-by-mean-rank.svg',
      'backbones-by-mean-rank.svg',
      'objectives-on-each-benchmark.svg',
      ...[
        'mean-of-all-benchmarks',
        'ms-marco-dev',
        'trec-dl-2019',
        'trec-dl-2020',
        'beir-13',
        'lotte-search',
        'robust04',
      ].map((panel) => `objective-backbone-${panel}.svg`),
    ]);
    const charts = SAMPLE.sections.filter(({ kind }) => !['text', 'table', 'image', 'heatmap'].includes(kind));
    const panels = SAMPLE.sections.flatMap((section) => (section.kind === 'heatmap' ? section.panels : []));
    expect(sample.size).toBe(charts.length + panels.length);
  });

  it('need no style of a page, and name their colors', () => {
    for (const [file, svg] of [...grid, ...sample]) {
      expect(svg, file).not.toContain('var(');
      expect(svg, file).toMatch(/^<svg role="img" aria-label="[^"]+" width="[\d.]+" height="[\d.]+"/);
    }
    const bars = grid.get('objectives-on-each-benchmark.svg')!;
    for (const name of PAPER_GRID.objectives) expect(bars).toContain(`>${name}</text>`);
    expect(sample.get('cascade.svg')).toContain('>BM25 → large</text>');
    expect(grid.get('objectives-by-mean-rank.svg')).toContain('CD = 1.026');
  });

  it('keep apart what has the same title', async () => {
    const twice = await drawingsOf({ ...SAMPLE, sections: [...SAMPLE.sections, ...SAMPLE.sections] });
    expect(twice.size).toBe(2 * sample.size);
    expect([...twice.keys()]).toContain('cascade-2.svg');
  });

  it.skipIf(!existsSync(CHROMIUM))('are pictures to a browser (needs Debian’s chromium)', async () => {
    const paths = await writeDrawings(join(folder.path, 'pictures'), SAMPLE);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    try {
      const page = await browser.newPage();
      for (const path of paths) {
        await page.goto(`file://${path}`);
        const root = await page.evaluate<{ name: string; errors: number; width: number }>(ROOT);
        expect(root, path).toEqual({ name: 'svg', errors: 0, width: expect.any(Number) });
        expect(root.width, path).toBeGreaterThan(300);
      }
    } finally {
      await browser.close();
    }
  });

  it('are written by `winnow report --drawings`, and the report goes where it went', () => {
    const out = join(folder.path, 'drawn');
    const printed = execFileSync(process.execPath, [WINNOW, 'report', '--format', 'json', '--drawings', out], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(JSON.parse(printed.toString()).title).toBe('9 backbones × 6 objectives');
    expect(readdirSync(out).sort()).toEqual([...grid.keys()].sort());
    expect(readFileSync(join(out, 'backbones-by-mean-rank.svg'), 'utf8')).toBe(grid.get('backbones-by-mean-rank.svg'));
  });
});
