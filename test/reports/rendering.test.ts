import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { trainingCurveSvg } from '../../src/reports/charts/training-curve.ts';
import { gridComparison } from '../../src/reports/grid-comparison.ts';
import { PAPER_GRID } from '../../src/reports/grid-data.ts';
import { renderHtml } from '../../src/reports/html.ts';
import { markdownSection, markdownTable, renderJson, renderMarkdown } from '../../src/reports/markdown.ts';
import { LIGHT } from '../../src/reports/palette.ts';
import { differencesSection, effectivenessTable, movedPassages, textTable } from '../../src/reports/tables.ts';
import { renderTerminal, terminalSection } from '../../src/reports/terminal.ts';
import { temporaryFolder } from '../evaluation/formats/temporary-folder.ts';
import { SAMPLE } from './sample.ts';

describe('terminal', () => {
  const text = renderTerminal(SAMPLE);

  it('shows every section, marks and their meaning', () => {
    for (const { title } of SAMPLE.sections) expect(text).toContain(`\n${title}\n`);
    expect(text).toMatch(/minilm-l6 {2}\.712▲ {7}\.401 {2}\.951▲‡/);
    expect(text).toContain('‡ the model was trained on texts of this set.');
    expect(text).toContain('+.600  264014  how long is <life cycle> of flea');
    expect(text).toContain('14 → 1  grade 3  5611210');
  });

  it('is the same with colors, but for the colors', () => {
    const colored = renderTerminal(SAMPLE, { color: true });
    expect(colored).toContain('\u001b[1m');
    expect(stripVTControlCharacters(colored)).toBe(text);
  });
});

describe('Markdown', () => {
  const text = renderMarkdown(SAMPLE);

  it('has tables whose rows are as wide as their heads, and escapes what is markup', () => {
    const widths = (line: string) => line.replace(/\\\|/g, '').split('|').length;
    const tables = text.split('\n\n').filter((block) => block.startsWith('|'));
    expect(tables.length).toBe(3);
    for (const table of tables) expect(new Set(table.split('\n').map(widths)).size).toBe(1);
    expect(text).toContain('tiny\\|int8');
    expect(text).toContain('how long is \\<life cycle\\> of flea');
    expect(text).toContain('| minilm-l6 | **.712▲** | **.401** | .951▲‡ |');
  });

  it('letters join what does not differ', () => {
    const grid = renderMarkdown(gridComparison(PAPER_GRID));
    expect(grid).toMatch(/\| MarginMSE \| 2\.17 \| a \|\n\| DistillRankNET \| 3\.61 \| b \|/);
    expect(grid).toMatch(/\| BERT-Base \| 3\.79 \| ab \|/);
  });
});

describe('tables of plain text', () => {
  const section = textTable({
    title: 'Arms',
    head: ['arm', 'lift', 'effect'],
    rows: [
      ['control', '', ''],
      ['a|b', '+1.25 %', 'better'],
    ],
  });

  it('infer which columns are numeric from their cells, the first never', () => {
    expect(section.columns.map((column) => column.numeric)).toEqual([false, true, false]);
  });

  it('align in a terminal, and end without blanks', () => {
    expect(terminalSection(section).split('\n')).toEqual([
      ...['Arms', '', 'arm         lift  effect', '───────  ───────  ──────'],
      ...['control', 'a|b      +1.25 %  better', ''],
    ]);
  });

  it('escape in Markdown', () => {
    expect(markdownTable(section.columns, [['a|b', '−.5', '']])).toBe(
      '| arm | lift | effect |\n| --- | ---: | --- |\n| a\\|b | −.5 |  |',
    );
    expect(markdownSection(section)).toMatch(/^## Arms\n\n\| arm \| lift \| effect \|/);
  });
});

describe('a drawing for a file of its own', () => {
  it('names its colors itself and has a size', async () => {
    const svg = await trainingCurveSvg({
      title: 'run',
      losses: [
        { step: 1, loss: 2 },
        { step: 2, loss: 1 },
      ],
      checks: [{ step: 2, measure: 'nDCG@10', value: 0.5 }],
    });
    expect(svg).toMatch(/^<svg[^>]* width="\d+" height="\d+"/);
    expect(svg.includes('var(')).toBe(false);
    expect(svg.includes(LIGHT['--c0']!)).toBe(true);
  });
});

describe('JSON', () => {
  it('is the model', () => {
    expect(JSON.parse(renderJson(SAMPLE))).toEqual(JSON.parse(JSON.stringify(SAMPLE)));
  });
});

describe('the page', async () => {
  const pages = { sample: await renderHtml(SAMPLE), grid: await renderHtml(gridComparison(PAPER_GRID)) };

  it.each(Object.entries(pages))('%s needs nothing from elsewhere and runs nothing', (_, html) => {
    expect(html).not.toMatch(/<script|<link rel="stylesheet"|@import|<iframe|\son\w+=/i);
    expect(
      [...html.matchAll(/(?:src|href|xlink:href)="([^"]*)"/g)].filter(([, to]) => !/^(#|data:)/.test(to!)),
    ).toEqual([]);
    const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, id] of html.matchAll(/(?:href="|url\()#([^")]+)/g)) expect(ids).toContain(id);
  });

  it('escapes what the data holds', () => {
    expect(pages.sample).toContain('Suite &lt;small&gt; &amp; co.');
    expect(pages.sample).toContain('how long is &lt;life cycle&gt; of flea');
    expect(pages.sample).not.toContain('<small>');
  });

  it('draws all that there is: squares, bars, diagrams', () => {
    expect(pages.grid.match(/aria-label="Objective × backbone/g)).toHaveLength(8); // the mean twice, six panels
    expect(pages.grid).toMatch(/aria-label="Objectives by mean rank: InfoNCE 1\.83, MarginMSE 2\.17/);
    expect(pages.sample.match(/<svg role="img"/g)).toHaveLength(6);
  });

  const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
  const folder = temporaryFolder();

  it.skipIf(!existsSync(CHROMIUM))('fits a desktop and a phone, light and dark (needs Chromium)', async () => {
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    try {
      const grounds = new Set<string>();
      for (const [name, html] of Object.entries(pages)) {
        await folder.put({ [`${name}.html`]: html });
        for (const width of [1280, 390])
          for (const colorScheme of ['light', 'dark'] as const) {
            const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
            await page.goto(`file://${join(folder.path, `${name}.html`)}`);
            // Evaluated in the browser, whose types this project does not load: hence text.
            const seen = (await page.evaluate(`({
              scroll: document.documentElement.scrollWidth,
              ground: getComputedStyle(document.body).backgroundColor,
              shown: [...document.querySelectorAll('svg')].filter((svg) => svg.clientWidth > 0).length,
              cut: [...document.querySelectorAll('svg')].filter((svg) => svg.clientWidth > 0).filter((svg) => {
                const box = svg.getBBox(), view = svg.viewBox.baseVal;
                return box.x < -2 || box.y < -2 || box.x + box.width > view.width + 2 || box.y + box.height > view.height + 2;
              }).map((svg) => svg.getAttribute('aria-label')),
            })`)) as { scroll: number; ground: string; shown: number; cut: string[] };
            expect(seen, `${name} at ${width}`).toMatchObject({ scroll: width, cut: [] });
            expect(seen.shown).toBe(name === 'sample' ? 3 : 10);
            grounds.add(seen.ground);
            await page.close();
          }
      }
      expect(grounds.size).toBe(2);
    } finally {
      await browser.close();
    }
  });
});

describe('tables of systems', () => {
  it('a value on a set the model has seen is never the best', () => {
    const table = effectivenessTable({
      title: 't',
      columns: ['a'],
      rows: [
        { system: 'x', values: [{ value: 0.4 }] },
        { system: 'y', values: [{ value: 0.9, seen: true }] },
        { system: 'z', values: [{}] },
      ],
    });
    expect(table.rows.map((row) => row[1])).toEqual([
      { text: '.400', marks: ['best'] },
      { text: '.900', marks: ['seen'] },
      { text: '–' },
    ]);
  });

  it('differences take the ends, with the passages that moved', async () => {
    const queries = Array.from({ length: 30 }, (_, i) => ({
      qid: `q${i}`,
      text: 't',
      before: 0.5,
      after: 0.35 + i / 100,
    }));
    const section = await differencesSection({
      title: 't',
      measure: 'nDCG@10',
      baseline: 'a',
      system: 'b',
      queries,
      shown: 2,
      passages: async (qid) => [{ docid: `d-${qid}`, text: 'x' }],
    });
    expect(section.queries.map(({ qid }) => qid)).toEqual(['q29', 'q28', 'q1', 'q0']);
    expect(section.queries[0]!.passages).toEqual([{ docid: 'd-q29', text: 'x' }]);
    expect(section.all).toHaveLength(30);
  });

  it('moved passages: judged and far ones first, those that stayed left out', () => {
    const moved = movedPassages(['a', 'b', 'c', 'd'], ['d', 'b', 'a', 'e'], new Map([['d', 3]]), 3);
    expect(moved.map(({ docid }) => docid)).toEqual(['d', 'a', 'c']);
    expect(moved[0]).toEqual({ docid: 'd', grade: 3, before: 4, after: 1 });
    expect(moved[2]).toMatchObject({ before: 3, after: undefined });
  });
});
