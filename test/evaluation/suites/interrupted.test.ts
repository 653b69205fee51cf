import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const folder = temporaryFolder();
const QUERIES = Array.from({ length: 12 }, (_, i) => `q${i}`);
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
await folder.put({
  'set/corpus.jsonl': lines(
    QUERIES.flatMap((q, i) =>
      [0, 1, 2].map((n) => ({ _id: `${q}-${n}`, title: '', text: `topic${i} told ${n} times` })),
    ),
  ),
  'set/queries.jsonl': lines(QUERIES.map((_id, i) => ({ _id, text: `what is topic${i}` }))),
  'set/qrels/test.tsv': `query-id\tcorpus-id\tscore\n${QUERIES.map((q) => `${q}\t${q}-1\t1\n`).join('')}`,
});
const suite = await folder.put({
  'suite.yaml': stringify({
    name: 'interrupted',
    measures: ['RR@10'],
    sets: [{ name: 'set', path: 'set', firstStage: 'bm25' }],
    models: ['fake'],
  }),
});
const out = (name: string): string => join(folder.path, name);
const inCell = (name: string, file: string): string => join(out(name), 'set', 'fake', file);

/** Runs the suite in a process, which is killed where it waits; returns the queries that it scored. */
async function run(name: string, queries?: number): Promise<string[]> {
  const script = join(import.meta.dirname, 'interrupted-suite.ts');
  const args = [script, suite, out(name), ...(queries === undefined ? [] : [String(queries)])];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const scored: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'waiting') child.kill('SIGKILL');
    else scored.push(line);
  }
  const [code, signal] = await ended;
  expect([code, signal]).toEqual(queries === undefined ? [0, null] : [null, 'SIGKILL']);
  return scored;
}

const factsOf = (name: string) => {
  const { seconds, ...facts } = JSON.parse(readFileSync(inCell(name, 'cell.json'), 'utf8'));
  return { facts, timed: seconds > 0 };
};

describe('a suite that is killed inside a cell', () => {
  it('goes on there, and its results are those of a run without interruption', async () => {
    expect(await run('whole')).toEqual(QUERIES);
    expect(await run('killed', 3)).toEqual(QUERIES.slice(0, 3));
    expect(existsSync(inCell('killed', 'cell.json'))).toBe(false);
    // A kill within a write.
    appendFileSync(inCell('killed', 'progress.jsonl'), '{"qid":"q3","sco');
    expect(await run('killed', 5)).toEqual(QUERIES.slice(3, 8));
    expect(await run('killed')).toEqual(QUERIES.slice(8));
    for (const file of ['run.trec.gz', 'values.json'])
      expect(readFileSync(inCell('killed', file))).toEqual(readFileSync(inCell('whole', file)));
    expect(factsOf('killed')).toEqual(factsOf('whole'));
    expect(existsSync(inCell('killed', 'progress.jsonl'))).toBe(false);
    expect(await run('killed')).toEqual([]);
  }, 60_000);

  it('begins again where the progress is of another key', async () => {
    await run('other', 3);
    const path = inCell('other', 'progress.jsonl');
    const text = readFileSync(path, 'utf8');
    await folder.put({ 'other/set/fake/progress.jsonl': text.replace(/^.*\n/, '{"key":"another"}\n') });
    expect(await run('other')).toEqual(QUERIES);
    expect(readFileSync(inCell('other', 'run.trec.gz'))).toEqual(readFileSync(inCell('whole', 'run.trec.gz')));
  }, 60_000);
});
