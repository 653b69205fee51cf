import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadDataset, openCollection } from '../../../src/evaluation/formats/load-dataset.ts';
import { runSuite } from '../../../src/evaluation/suites/run-suite.ts';
import type { SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { suiteReport } from '../../../src/evaluation/suites/suite-report.ts';
import { parseSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { renderMarkdown } from '../../../src/reports/markdown.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const folder = temporaryFolder();

/** A BEIR folder whose relevant passage is longer than `longer` of the two others; the model scores by length. */
const set = (at: string, longer: 0 | 1 | 2) => ({
  [`${at}/corpus.jsonl`]: ['a', 'bb', 'ccc']
    .map((text, i) => `{"_id":"${i}","title":"","text":"x ${text}"}\n`)
    .join(''),
  [`${at}/queries.jsonl`]: '{"_id":"q","text":"x"}\n',
  [`${at}/qrels/test.tsv`]: `query-id\tcorpus-id\tscore\nq\t${longer}\t1\n`,
});
await folder.put({
  ...set('cqadupstack/android', 2),
  ...set('cqadupstack/english', 1),
  ...set('other', 0),
  ...set('lotte/writing/test', 2),
  ...set('lotte/science/test', 2),
  ...set('lone/only', 2),
  'x.run': 'q Q0 0 1 1 t\n',
});

const models: SuiteModels = {
  async open(reference) {
    return {
      key: `${reference}@1`,
      sha256: 'x',
      variant: 'fp32',
      provider: 'cpu',
      training: { data: reference === 'trained' ? ['CQADupStack'] : [] },
    };
  },
  async *score(_reference, _variant, requests) {
    for await (const { qid, passages } of requests)
      yield { qid, scores: passages.map(({ length }) => length), tokens: 1, truncated: 0 };
  },
};

async function run(name: string, sets: readonly object[], names: readonly string[] = ['m']) {
  const suite = parseSuite({ name: 'groups', measures: ['RR'], sets, models: names }, 's');
  const said: string[] = [];
  const outcome = await runSuite({ suite, folder: folder.path }, models, {
    out: join(folder.path, 'out', name),
    observer: { onNote: (text) => void said.push(text) },
  });
  if (outcome.kind !== 'complete') throw new Error('not complete');
  const report = await suiteReport(outcome.result);
  const text = await renderMarkdown(report);
  await outcome.close();
  return { report, text, said, sets: outcome.result.sets };
}

describe('a folder of sets', () => {
  it('is measured as a group, which counts as one set in a group around it', async () => {
    const { report, said, text } = await run('beir', [
      { name: 'CQADupStack', path: 'cqadupstack', group: 'BEIR' },
      { name: 'other', path: 'other', group: 'BEIR' },
    ]);
    expect(said).toContain('CQADupStack: 2 sets, measured as a group: CQADupStack-android, CQADupStack-english');
    expect(report.data).toMatchObject({
      groups: [
        {
          group: 'CQADupStack',
          sets: ['CQADupStack-android', 'CQADupStack-english'],
          mean: { RR: { m: (1 + 1 / 2) / 2 } },
        },
        { group: 'BEIR', mean: { RR: { m: ((1 + 1 / 2) / 2 + 1 / 3) / 2 } } },
      ],
    });
    const [heads] = text.match(/^\| *system.*$/m)!;
    expect(heads).toContain('CQADupStack (mean of 2)');
    expect(heads).toContain('BEIR (mean of 2)');
  });

  it('may lie two levels down, and is marked as seen by its own name', async () => {
    const { sets } = await run(
      'deep',
      [
        { name: 'LoTTE', path: 'lotte' },
        { name: 'CQADupStack', path: 'cqadupstack' },
      ],
      ['trained'],
    );
    expect(sets.map(({ name }) => name)).toEqual([
      'LoTTE-science-test',
      'LoTTE-writing-test',
      'CQADupStack-android',
      'CQADupStack-english',
    ]);
    expect(sets.map(({ systems }) => systems[1]?.seen !== undefined)).toEqual([false, false, true, true]);
  });

  it.each([
    [
      { firstStage: { run: 'x.run' } },
      'set C: expected no firstStage.run for a folder of 2 sets; list the sets one by one',
    ],
    [{ folds: 'folds.json' }, 'expected no folds for a folder of 2 sets'],
    [{ firstStage: { bm25: { index: 'ix' } } }, 'expected no firstStage.bm25.index'],
  ])('refuses what fits one set only: %j', async (more, message) => {
    await expect(run('refused', [{ name: 'C', path: 'cqadupstack', ...more }])).rejects.toThrow(message);
  });

  it('refuses a part with the name of another set', async () => {
    const sets = [
      { name: 'C', path: 'cqadupstack' },
      { name: 'C-android', path: 'other' },
    ];
    await expect(run('twice', sets)).rejects.toThrow('sets: expected each name once, got C-android twice');
  });

  it.each([
    ['cqadupstack', 'a folder that holds 2 sets: android, english; give one of them'],
    ['lotte', 'a folder that holds 2 sets: science/test, writing/test; give one of them'],
    ['lone', 'a folder that holds 1 set: only; give one of them'],
  ])('%s is no single data set', async (name, message) => {
    await expect(loadDataset(join(folder.path, name))).rejects.toThrow(message);
    await expect(loadDataset({ path: join(folder.path, name), format: 'beir' })).rejects.toThrow(message);
    await expect(openCollection(join(folder.path, name))).rejects.toThrow(message);
  });
});
