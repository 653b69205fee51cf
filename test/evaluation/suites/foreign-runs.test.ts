import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runSuite } from '../../../src/evaluation/suites/run-suite.ts';
import type { SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { suiteReport } from '../../../src/evaluation/suites/suite-report.ts';
import { parseSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { renderHtml } from '../../../src/reports/html.ts';
import { renderTerminal } from '../../../src/reports/terminal.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const folder = temporaryFolder();
const WORDS = ['flea', 'wing', 'shock', 'heat'];
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
for (const set of ['one', 'two'])
  await folder.put({
    [`${set}/corpus.jsonl`]: lines(
      WORDS.flatMap((word) => [
        { _id: `${word}-right`, text: `the ${word} explained at length` },
        { _id: `${word}-wrong`, text: `${word} ${word}` },
      ]),
    ),
    [`${set}/queries.jsonl`]: lines(WORDS.map((word) => ({ _id: `${set}-${word}`, text: word }))),
    [`${set}/qrels/test.tsv`]: `query-id\tcorpus-id\tscore\n${WORDS.map((word) => `${set}-${word}\t${word}-right\t1\n`).join('')}`,
  });
const run = (set: string, words: readonly string[]): string =>
  words
    .map(
      (word) =>
        `${set}-${word} Q0 elsewhere 1 3 x\n${set}-${word} Q0 afar 2 2 x\n${set}-${word} Q0 ${word}-right 3 1 x\n`,
    )
    .join('');
await folder.put({
  'both.run': run('one', WORDS) + run('two', WORDS),
  'one.run': run('one', WORDS.slice(1)),
  'none.run': 'x Q0 a 1 1 t\n',
});

const NO_MODELS: SuiteModels = {
  open: () => Promise.reject(new Error('no model is needed')),
  score: () => {
    throw new Error('no model is needed');
  },
};
const BASE = {
  name: 'foreign',
  depth: 5,
  measures: ['RR@10'],
  sets: [
    { name: 'one', path: 'one', firstStage: 'bm25' },
    { name: 'two', path: 'two', firstStage: 'bm25', seen: ['both'] },
  ],
};
let count = 0;
async function evaluate(change: object) {
  const loaded = { folder: folder.path, suite: parseSuite({ ...BASE, ...change }, 'suite.yaml') };
  const outcome = await runSuite(loaded, NO_MODELS, { out: join(folder.path, `out${++count}`) });
  if (outcome.kind !== 'complete') throw new Error('not complete');
  return outcome;
}

describe('run files of other systems', () => {
  it('are systems of a suite, without a model', async () => {
    const { result, close } = await evaluate({ systems: [{ name: 'both', run: 'both.run' }] });
    const [one, two] = result.sets;
    expect(one!.systems.map(({ system }) => system)).toEqual(['first-stage', 'both']);
    expect(one!.systems[1]).toMatchObject({ file: 'both.run', ms: undefined, seen: undefined });
    expect([...one!.systems[1]!.perQuery.get('RR@10')!]).toEqual([1 / 3, 1 / 3, 1 / 3, 1 / 3]);
    expect(two!.systems[1]!.seen).toBe('the suite says so');
    expect(one!.comparisons.get('RR@10')).toMatchObject([{ system: 'both' }]);
    const report = await suiteReport(result);
    expect(report.sections.some(({ kind }) => kind === 'scatter')).toBe(false);
    expect(renderTerminal(report)).toContain('(not in the collection)');
    expect(JSON.parse(JSON.stringify(report.data))).toMatchObject({
      sets: [{ systems: [{}, { system: 'both', run: 'both.run' }] }, {}],
    });
    expect(await renderHtml(report)).toContain('both');
    await close();
  });

  it('may differ by set, may be the baseline, and tell what they lack', async () => {
    const { result, close } = await evaluate({
      baseline: 'mine',
      systems: [
        { name: 'mine', run: { one: 'one.run' } },
        { name: 'both', run: 'both.run' },
        { name: 'gone', run: { one: 'nowhere.run' } },
        { name: 'other', run: { two: 'none.run' } },
      ],
    });
    const [one, two] = result.sets;
    expect(one!.systems.map(({ system }) => system)).toEqual(['first-stage', 'mine', 'both']);
    expect(two!.systems.map(({ system }) => system)).toEqual(['first-stage', 'both']);
    expect([...one!.systems[1]!.perQuery.get('RR@10')!]).toEqual([0, 1 / 3, 1 / 3, 1 / 3]);
    expect(one!.notes).toEqual(['mine: 1 of 4 queries are not in one.run and count 0: one-flea']);
    expect(two!.notes).toEqual([
      'other has no row: none.run has none of the queries (two-flea, two-wing, two-shock, two-heat)',
    ]);
    expect(result.leftOut).toEqual([{ what: 'gone', reason: 'nothing at nowhere.run' }]);
    expect(one!.comparisons.get('RR@10')!.map(({ system }) => system)).toEqual(['first-stage', 'both']);
    await close();
  });

  it.each<[object, string]>([
    [{ models: ['a'], systems: [{ name: 'a', run: 'x.run' }] }, 'models: expected each name once, got a twice'],
    [{}, 'models: expected at least 1 model, or a run file in systems, got none'],
    [{ systems: [{ name: 'a' }] }, 'systems.0.run'],
    [{ systems: [{ name: 'a', run: 'x.run', depth: 3 }] }, 'depth'],
    [{ baseline: 'b', systems: [{ name: 'a', run: 'x.run' }] }, 'baseline: expected one of first-stage, a, got b'],
  ])('%j is refused', (change, message) => {
    expect(() => parseSuite({ ...BASE, ...change }, 'suite.yaml')).toThrow(message);
  });

  it.each<[object, string]>([
    [
      { systems: [{ name: 'a', run: { three: 'one.run' } }] },
      'system a: expected runs of the sets one, two, got three',
    ],
    [
      {
        sets: [...BASE.sets, { name: 'again', path: 'one', firstStage: 'bm25' }],
        systems: [{ name: 'a', run: 'both.run' }],
      },
      'expected a run file for each set, as in run: { one: FILE }, got both.run for all sets; query one-flea is in one and again',
    ],
  ])('%j ends the suite', async (change, message) => {
    await expect(evaluate(change)).rejects.toThrow(message);
  });

  it('one file a part of a folder of sets', async () => {
    for (const part of ['one', 'two'])
      cpSync(join(folder.path, part), join(folder.path, 'parts', part), { recursive: true });
    const { result, close } = await evaluate({
      sets: [{ name: 'all', path: 'parts', firstStage: 'bm25' }],
      systems: [{ name: 'mine', run: { 'all-one': 'one.run' } }],
    });
    expect(result.sets.map(({ name, systems }) => [name, systems.length])).toEqual([
      ['all-one', 2],
      ['all-two', 1],
    ]);
    await close();
  });

  it('a run file that does not parse ends the suite with file and line', async () => {
    await folder.put({ 'bad.run': 'one-flea Q0 a 1 x t\n' });
    await expect(evaluate({ systems: [{ name: 'bad', run: 'bad.run' }] })).rejects.toThrow(
      'bad.run:1: expected a number',
    );
  });
});
