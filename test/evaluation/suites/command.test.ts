import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { SHIPPED_NAME } from '../../support/shipped.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const WINNOW = join(ROOT, 'bin', 'winnow.mjs');
const folder = temporaryFolder();

const PASSAGES = {
  egg: 'Place the egg in boiling water for seven to ten minutes, then cool it under cold water before peeling.',
  ferry: 'The ferry leaves the harbour every morning at eight and returns before sunset.',
  how: 'How to how to: a list of how to do lists of how long it takes to do lists.',
  when: 'When does it matter when it does? When it does, it does.',
};
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
await folder.put({
  'set/corpus.jsonl': lines(Object.entries(PASSAGES).map(([_id, text]) => ({ _id, title: '', text }))),
  'set/queries.jsonl': lines([
    { _id: 'q1', text: 'how long does it take to boil an egg' },
    { _id: 'q2', text: 'when does the ferry leave' },
  ]),
  'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\tegg\t1\nq2\tferry\t1\n',
});
const suite = await folder.put({
  'suite.yaml': stringify({
    name: 'two questions',
    measures: ['RR@10'],
    sets: [
      { name: 'set', path: 'set', firstStage: 'bm25' },
      { name: 'absent', path: 'nowhere' },
    ],
    models: [SHIPPED_NAME],
  }),
});

function winnow(...args: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [WINNOW, 'eval', suite, ...args], {
    cwd: folder.path,
    encoding: 'utf8',
    env: { ...process.env, WINNOW_MODELS: join(ROOT, 'models') },
  });
  return { out: stdout, error: stderr, status };
}

describe('winnow eval', () => {
  it('re-ranks with the shipped model and reports; a second call only reports', () => {
    const first = winnow('--out', 'results', '--format', 'json');
    expect(first, first.error).toMatchObject({ status: 0 });
    const { data } = JSON.parse(first.out);
    expect(data.leftOut).toEqual([{ what: 'absent', reason: 'nothing at nowhere' }]);
    const [, model] = data.sets[0].systems;
    expect(model).toMatchObject({ system: SHIPPED_NAME, variant: 'int8', mean: { 'RR@10': 1 } });
    for (const name of ['report.html', 'report.md', 'report.json', `set/${SHIPPED_NAME}/values.json`])
      expect(existsSync(join(folder.path, 'results', name))).toBe(true);
    const second = winnow('--out', 'results', '--format', 'markdown');
    expect(second.error).toContain('1 of 1 cells are finished; 0 pairs to score');
    expect(second.out).toBe(readFileSync(join(folder.path, 'results', 'report.md'), 'utf8'));
  }, 120_000);

  it('says what is wrong with a suite, and shows examples', () => {
    const { error, status } = winnow('--shard', '4/4', '--out', 'other');
    expect(status).toBe(2);
    expect(error).toContain('--shard: expected i/n with i from 0 to n − 1, such as 0/4, got "4/4" (string)');
    expect(winnow('--help').out).toContain('winnow eval suite.yaml --shard 1/4');
  }, 60_000);
});
