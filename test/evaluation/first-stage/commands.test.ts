import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Bm25Index } from '../../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../../src/evaluation/first-stage/index/build-index.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';
import { passagesOf } from './support.ts';

const WINNOW = join(import.meta.dirname, '..', '..', '..', 'bin', 'winnow.mjs');
const folder = temporaryFolder();

function winnow(...args: string[]): { out: string; error: string; status: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [WINNOW, ...args], { encoding: 'utf8' });
  return { out: stdout, error: stderr, status };
}

const corpus = await folder.put({ 'corpus.tsv': 'p1\tcats chase mice\np2\tdogs chase cats\np3\tmice eat cheese\n' });
const queries = await folder.put({ 'queries.tsv': '7\tchasing mice\n8\tzebra\n' });

describe('winnow index and winnow search', () => {
  it('index a collection and write a TREC run', () => {
    const out = join(folder.path, 'index');
    const built = winnow('index', corpus, '--out', out);
    expect(built).toMatchObject({ status: 0 });
    expect(built.out).toContain('3 passages, 6 terms, 9 postings');
    const run = join(folder.path, 'bm25.run');
    expect(winnow('search', '--index', out, '--queries', queries, '--out', run, '--depth', '2').status).toBe(0);
    const lines = readFileSync(run, 'utf8').trim().split('\n');
    expect(lines.map((line) => line.split(' ').slice(0, 4).join(' '))).toEqual([
      '7 Q0 p1 1',
      expect.stringMatching(/^7 Q0 p[23] 2$/),
    ]);
  });

  it('say what is wrong', () => {
    expect(winnow('search', '--index', folder.path, '--queries', queries, '--out', 'x').error).toContain(
      'expected a BM25 index',
    );
    expect(winnow('search', '--index', folder.path, '--queries', queries, '--out', 'x', '--b', '2').error).toContain(
      '--b: expected a number from 0 to 1, got "2"',
    );
  });
});

describe('an index folder', () => {
  it('is not built over another, and leaves nothing behind when it fails', async () => {
    const path = join(folder.path, 'twice');
    await buildIndex(path, passagesOf(['one text']));
    await expect(buildIndex(path, passagesOf(['one text']))).rejects.toThrow(/expected a new folder/);
    await expect(buildIndex(join(folder.path, 'none'), passagesOf(['the', '']))).rejects.toThrow(/at least 1 passage/);
    expect(readdirSync(folder.path).filter((name) => name.includes('none'))).toEqual([]);
  });

  it('is refused when a file is shorter than it was written', async () => {
    const path = join(folder.path, 'short');
    await buildIndex(path, passagesOf(['one text', 'two texts']));
    truncateSync(join(path, 'postings.bin'), 1);
    expect(() => new Bm25Index(path)).toThrow(/postings\.bin: expected \d+ bytes, got 1/);
  });
});
