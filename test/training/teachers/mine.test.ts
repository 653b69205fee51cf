import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mineQuery } from '../../../src/training/teachers/mine.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'winnow-mine-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const settings = { ranks: [1, 100], negatives: 3, strategy: 'top', seed: 1 } as const;

describe('mineQuery', () => {
  it('takes the best of the given ranks, never a positive', () => {
    const ranked = ['a', 'b', 'c', 'd', 'e', 'f'];
    expect(mineQuery('q', ['b'], ranked, undefined, settings)).toEqual(['a', 'c', 'd']);
    expect(mineQuery('q', ['b'], ranked, undefined, { ...settings, ranks: [2, 4] })).toEqual(['c', 'd']);
    const random = mineQuery('q', ['b'], ranked, undefined, { ...settings, strategy: 'random' });
    expect(random).toEqual(mineQuery('q', ['b'], ranked, undefined, { ...settings, strategy: 'random' }));
    expect(new Set(random).size).toBe(3);
  });

  it('leaves out what the teacher scores as high as a positive', () => {
    const scores = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.double({ min: -5, max: 5, noNaN: true }));
    fc.assert(
      fc.property(scores, fc.double({ min: 0, max: 3, noNaN: true }), (known, teacherMargin) => {
        const mined = mineQuery('q', ['a'], ['a', 'b', 'c', 'd', 'e'], new Map(Object.entries(known)), {
          ...settings,
          negatives: 5,
          teacherMargin,
        });
        for (const docid of mined)
          if (known.a !== undefined && known[docid] !== undefined)
            expect(known[docid]).toBeLessThanOrEqual(known.a - teacherMargin);
        for (const docid of ['b', 'c', 'd', 'e']) if (known[docid] === undefined) expect(mined).toContain(docid);
      }),
    );
  });
});

describe('winnow mine', () => {
  beforeAll(() => {
    mkdirSync(join(folder, 'set', 'qrels'), { recursive: true });
    const texts = ['red apples fall', 'red apples rise', 'red pears', 'blue sky', 'apples apples apples'];
    writeFileSync(
      join(folder, 'set', 'corpus.jsonl'),
      texts.map((text, i) => JSON.stringify({ _id: `d${i}`, title: '', text })).join('\n'),
    );
    writeFileSync(
      join(folder, 'set', 'queries.jsonl'),
      '{"_id":"q1","text":"red apples"}\n{"_id":"q2","text":"blue sky"}\n',
    );
    writeFileSync(join(folder, 'set', 'qrels', 'train.tsv'), 'query-id\tcorpus-id\tscore\nq1\td0\t1\nq2\td3\t1\n');
  });

  const mine = (out: string, ...more: readonly string[]) => {
    const flags = ['--format', 'beir', '--data', 'set', '--corpus', 'set/corpus.jsonl', '--out', out, ...more];
    const command = [join(ROOT, 'bin', 'winnow.mjs'), 'mine', ...flags];
    return spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' });
  };

  it('writes rows that train: a BEIR folder, BM25, a teacher against false negatives', () => {
    // d1 has the text of the positive: a false negative by the teacher.
    writeFileSync(join(folder, 't.run'), 'q1 Q0 d0 1 9 t\nq1 Q0 d1 2 8.9 t\nq1 Q0 d4 3 2 t\nq1 Q0 d2 4 1 t\n');
    const { status, stdout } = mine('out.jsonl', '--teacher', 't.run', '--ratio', '0.95');
    expect(status).toBe(0);
    expect(stdout).toMatch(/out\.jsonl: 1 queries from BM25 \(k1 \.9, b \.4\); left out: 1 no negative in these ranks/);
    const [row, ...rest] = readFileSync(join(folder, 'out.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rest).toEqual([]);
    expect(row).toMatchObject({ query: 'red apples', pos: ['red apples fall'], pos_scores: [9] });
    expect([...row.neg].sort()).toEqual(['apples apples apples', 'red pears']);
    expect([...row.neg_scores].sort()).toEqual([1, 2]);
  }, 60_000);

  it('refuses a teacher that knows none of the queries, and data without a query to mine for', () => {
    writeFileSync(join(folder, 'other.run'), 'Q1 Q0 d0 1 9 t\n');
    expect(mine('no.jsonl', '--teacher', 'other.run', '--ratio', '0.95').stderr).toContain(
      'other.run: expected scores of queries of the data, got those of 1 others',
    );
    expect(mine('no.jsonl', '--ranks', '90-100').stderr).toContain(
      'set: expected at least 1 query to mine for, got none (left out: {',
    );
    expect(existsSync(join(folder, 'no.jsonl'))).toBe(false);
  }, 60_000);
});
