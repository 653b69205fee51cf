import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runSuite } from '../../../src/evaluation/suites/run-suite.ts';
import type { SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { suiteReport } from '../../../src/evaluation/suites/suite-report.ts';
import { parseSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { renderMarkdown } from '../../../src/reports/markdown.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const folder = temporaryFolder();

/** Scores every passage by its length. */
const models: SuiteModels = {
  async open(reference) {
    return { key: `${reference}@1`, sha256: 'x', variant: 'fp32', provider: 'cpu', training: { data: [] } };
  },
  async *score(_reference, _variant, requests) {
    for await (const { qid, passages } of requests)
      yield { qid, scores: passages.map(({ length }) => length), tokens: 1, truncated: 0 };
  },
};

async function report(name: string, set: object): Promise<{ text: string; said: string[]; rr: number | undefined }> {
  const suite = parseSuite(
    {
      name: 'counts',
      measures: ['RR'],
      sets: [{ name: 'ok', path: 'set', firstStage: { run: 'ok.run' } }, set],
      models: ['m'],
    },
    's',
  );
  const said: string[] = [];
  const outcome = await runSuite({ suite, folder: folder.path }, models, {
    out: join(folder.path, 'out', name),
    observer: { onNote: (text) => void said.push(text) },
  });
  if (outcome.kind !== 'complete') throw new Error('not complete');
  const text = await renderMarkdown(await suiteReport(outcome.result));
  await outcome.close();
  return { text, said, rr: outcome.result.sets[1]?.systems[0]?.mean.get('RR') };
}

await folder.put({
  'set/corpus.jsonl': '{"_id":"a","text":"one"}\n{"_id":"b","text":"two"}\n',
  'set/queries.jsonl': '{"_id":"1","text":"x"}\n{"_id":"2","text":"y"}\n{"_id":"3","text":"z"}\n',
  'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n4\ta\t1\n5\tb\t1\n',
  'ok.run': '1 Q0 a 1 1 t\n2 Q0 b 1 1 t\n',
  'half.run': '1 Q0 a 1 1 t\n7 Q0 b 1 1 t\n',
  'other.run': 'Q1 Q0 a 1 1 t\nQ2 Q0 b 1 1 t\n',
  'qrels.json': '{"1":{"a":1},"2":{}}',
  'folds.json': '[["1"],["9"],["8"]]',
});

it('says which judged queries have no text, no candidates and no fold', async () => {
  const notes = [
    'half: 2 of 4 judged queries have no text and are not measured: 4, 5',
    'half: 1 of 2 queries have no candidates and count 0: 2',
  ];
  const set = { name: 'half', path: 'set', firstStage: { run: 'half.run' }, folds: 'folds.json' };
  const { text, said, rr } = await report('half', set);
  expect(rr).toBe(0.5);
  expect(said.filter((line) => line.startsWith('half'))).toEqual(notes);
  for (const note of [...notes, 'half: 1 of 2 queries are in the test part of no fold: 2'])
    expect(text).toContain(`${note}.`);
});

it('leaves a set out whose run has none of its queries', async () => {
  const { text, said } = await report('none', { name: 'none', path: 'set', firstStage: { run: 'other.run' } });
  const reason = 'other.run has candidates for none of its queries (1, 2)';
  expect(said).toContain(`left out: none, ${reason}`);
  expect(text).toContain(`none: ${reason}.`);
});

it('ignores a query whose judgements are an empty map, and says so', async () => {
  const set = { name: 'empty', path: 'set', qrels: '../qrels.json', firstStage: { run: 'ok.run' } };
  const { said, rr } = await report('empty', set);
  expect(rr).toBe(1);
  expect(said).toContain('empty: 1 queries of the qrels have no judgement and are ignored: 2');
});
