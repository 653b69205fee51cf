import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readJudged } from '../../recipes/ensemble-models/lists.ts';
import type { Pool } from '../../recipes/ensemble-models/pools.ts';
import { plain } from '../../recipes/ensemble-models/pools.ts';
import { makeQueries } from '../../recipes/ensemble-models/queries.ts';
import { readQueries } from '../../recipes/ensemble-models/searched.ts';
import { allSteps, recipePath } from '../../recipes/ensemble-models/steps.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { readRecipe } from '../../src/training/recipe/recipe.ts';

const DATA = join(import.meta.dirname, '../../../shared/data');

const FILLER =
  'It has many parts that are described in the long text which follows, one after the other, in some detail.';
const pool: Pool = new Map([
  [
    'a',
    { text: `The ferry leaves the island at eight in the morning. ${FILLER} Tickets are sold on board by the crew.` },
  ],
  [
    'b',
    {
      text: `What does a lighthouse keeper do all day? ${FILLER} He cleans the lamp and writes the log of the passing ships.`,
    },
  ],
  [
    'c',
    {
      text: `A sextant is an instrument that measures angles between stars. ${FILLER}`,
      title: 'Sextant (instrument) of ships',
    },
  ],
  ['d', { text: 'Short.' }],
]);

describe('recipes of models that learn from an ensemble', () => {
  it('read as recipes and a grid', () => {
    for (const file of ['large-start.yaml', 'large.yaml', 'start.yaml']) {
      const { recipe } = readRecipe(recipePath(file));
      // Shares of the lists: read as such, to a rounding.
      expect(recipe.data.train.reduce((sum, { weight }) => sum + (weight ?? 1), 0)).toBeCloseTo(1, 1);
      expect(recipe.data.train.every(({ teacher }) => teacher?.endsWith('.run'))).toBe(true);
    }
    const { grid } = readGrid(recipePath('objectives.yaml'));
    expect([grid.objectives.length, grid.seeds.length]).toEqual([6, 2]);
  });

  it('steps have names and outputs of their own, and what a training reads is written before it', () => {
    const steps = allSteps();
    expect(new Set(steps.map(({ name }) => name)).size).toBe(steps.length);
    expect(new Set(steps.map(({ output }) => output)).size).toBe(steps.length);
    for (const [place, { recipe }] of steps.entries()) {
      if (recipe === undefined || recipe.endsWith('objectives.yaml')) continue;
      const { recipe: read, folder } = readRecipe(recipe);
      const before = steps.slice(0, place).map(({ output }) => output);
      for (const { teacher } of read.data.train) expect(before).toContain(join(folder, teacher!));
    }
  });
});

describe('queries of passages', () => {
  const made = () =>
    makeQueries(DATA, 'web', pool, new Set([plain('A sextant is an instrument that measures angles between stars')]));

  it('are the same every time, none twice, and none that is refused', async () => {
    const queries = await made();
    expect(await made()).toEqual(queries);
    const texts = queries.map(({ query }) => plain(query));
    expect(new Set(texts).size).toBe(texts.length);
    expect(new Set(queries.map(({ qid }) => qid)).size).toBe(queries.length);
    expect(queries.some(({ source, own }) => source === 'sentences' && own?.docid === 'c')).toBe(false);
  });

  it('leave their passage where they are a part of it, and keywords are words of it', async () => {
    const queries = await made();
    const of = (source: string) => queries.filter((query) => query.source === source);
    expect(of('questions').map(({ query }) => query)).toEqual(['What does a lighthouse keeper do all day?']);
    expect(of('sentences').map(({ query }) => query)).toContain('The ferry leaves the island at eight in the morning');
    expect(of('titles').map(({ query }) => query)).toEqual(['Sextant (instrument) of ships']);
    for (const { source, query, own } of queries) {
      if (source === 'questions' || source === 'sentences') expect(own?.text).not.toContain(query);
      if (source !== 'keywords') continue;
      const words = query.split(' ');
      expect(words.length).toBeGreaterThanOrEqual(2);
      expect(words.length).toBeLessThanOrEqual(5);
      for (const word of words) expect(pool.get(own!.docid)?.text.toLowerCase()).toContain(word);
    }
    expect(of('keywords').some(({ own }) => own?.docid === 'd')).toBe(false);
  });
});

describe.skipIf(!existsSync(DATA))('held-out queries (needs ../shared/data)', () => {
  it('are 14, with 12 others kept back, of the judged ones of 2021', async () => {
    const { heldOut, keptBack, lines } = await readJudged(DATA);
    expect([heldOut.size, keptBack.size]).toEqual([14, 12]);
    expect([...heldOut].some((qid) => keptBack.has(qid))).toBe(false);
    expect(new Set(lines(heldOut).map((line) => line.split(/\s+/)[0]))).toEqual(new Set(heldOut));
  });
});

describe('searched queries', () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-searched-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are read from each collection in its form, each text once, without those of test sets', async () => {
    mkdirSync(join(folder, 'topics-and-qrels'));
    const write = (name: string, ...lines: string[]) =>
      writeFileSync(join(folder, 'topics-and-qrels', `topics.${name}.txt`), lines.map((line) => `${line}\n`).join(''));
    write('msmarco-passage.dev-subset', '1\t what is a sextant ', '2\thow tall is a mast');
    write('msmarco-doc.dev', '1\twhat is a  Sextant', '7\tharbour fees');
    write('msmarco-passage-v2.dev', '9\tasked in a test');
    write('msmarco-passage-v2.dev2');
    write('nq.dev', "who built the pier\t['nobody']");
    write('mq.1-10000', '12:ship registers: rules');
    const found = await readQueries(folder, new Set([plain('Asked in a test')]));
    expect(new Set([...found.values()].map(plain))).toEqual(
      new Set([
        'what is a sextant',
        'how tall is a mast',
        'harbour fees',
        'who built the pier',
        'ship registers: rules',
      ]),
    );
    expect([...found.keys()].toSorted()).toEqual([
      'searched-mq-0',
      'searched-msmarco-0',
      'searched-msmarco-1',
      'searched-msmarco-2',
      'searched-nq-0',
    ]);
  });
});
