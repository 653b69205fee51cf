import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const WINNOW = join(import.meta.dirname, '..', '..', '..', 'bin', 'winnow.mjs');
const folder = temporaryFolder();

const QRELS = 'q1 0 a 1\nq1 0 b 0\nq1 0 c 0\nq1 0 d 3\nq1 0 e 2\nq2 0 a 1\nq2 0 z 2\nq3 0 m 2\n';
const RUN =
  'q1 Q0 a 1 5 t\nq1 Q0 b 2 5 t\nq1 Q0 c 3 5 t\nq1 Q0 d 4 4 t\nq1 Q0 x 5 3 t\nq2 Q0 9 1 1 t\nq2 Q0 10 2 1 t\nq2 Q0 z 3 .5 t\nq2 Q0 a 4 .25 t\nq9 Q0 a 1 1 t\n';

const qrels = await folder.put({ 'qrels.txt': QRELS });
const run = await folder.put({ 'run.txt': RUN });

/** Runs the command line; returns its output and exit status. */
function winnow(
  args: readonly string[],
  input?: string | Buffer,
): { out: string; error: string; status: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [WINNOW, 'measure', ...args], { input });
  return { out: stdout.toString(), error: stderr.toString(), status };
}

describe('winnow measure', () => {
  it('prints the mean of each measure, under its normal name', () => {
    const { out, status } = winnow([
      '--qrels',
      qrels,
      '--run',
      run,
      'MRR',
      'AP(rel=2)',
      'nDCG@10',
      'NumRet',
      'ndcg_cut_10',
    ]);
    expect(status).toBe(0);
    expect(out).toBe('RR       \tall\t0.2222\nAP(rel=2)\tall\t0.1528\nnDCG@10  \tall\t0.3067\nNumRet   \tall\t9\n');
  });

  it('prints every judged query with --per-query', () => {
    const { out } = winnow(['--qrels', qrels, '--run', run, '--per-query', 'RR']);
    expect(out).toBe('RR\tq1\t0.3333\nRR\tq2\t0.3333\nRR\tq3\t0.0000\nRR\tall\t0.2222\n');
  });

  it('JSON has mean and queries with all digits', () => {
    const { out } = winnow(['--qrels', qrels, '--run', run, '--json', 'RR', 'Success@5']);
    expect(JSON.parse(out)).toEqual({
      mean: { RR: 2 / 9, 'Success@5': 2 / 3 },
      perQuery: { q1: { RR: 1 / 3, 'Success@5': 1 }, q2: { RR: 1 / 3, 'Success@5': 1 }, q3: { RR: 0, 'Success@5': 0 } },
    });
  });

  it.each([
    ['as it is', RUN],
    ['packed', gzipSync(RUN)],
  ])('reads standard input %s', (_, input) => {
    expect(winnow(['--qrels', qrels, '--run', '-', 'RR'], input).out).toBe('RR\tall\t0.2222\n');
  });

  it('writes to a file', () => {
    const out = join(folder.path, 'out', 'values.json');
    winnow(['--qrels', qrels, '--run', run, '--json', '--out', out, 'RR']);
    expect(JSON.parse(readFileSync(out, 'utf8')).mean).toEqual({ RR: 2 / 9 });
  });

  it('compares with a reference run', () => {
    expect(winnow(['--qrels', qrels, '--run', run, '--reference', run, 'RBO']).out).toBe('RBO\tall\t0.6667\n');
  });

  it('says which queries were not simply measured', async () => {
    const judged = await folder.put({ 'with-empty.json': '{"q1":{"a":1},"q2":{},"q3":{"b":0},"q4":{"c":-1}}' });
    const { out, error } = winnow(['--qrels', judged, '--run', run, 'RR', 'NumQ']);
    expect(out).toBe('RR  \tall\t0.1111\nNumQ\tall\t3\n');
    expect(error.split('\n')).toEqual([
      `winnow: ${judged}: 1 query without a judgement, ignored: q2`,
      `winnow: ${run}: 2 queries of 3 judged not in the run, counted as 0: q3, q4`,
      `winnow: ${run}: 2 queries of the run not judged, ignored: q2, q9`,
      `winnow: ${judged}: 2 queries without a document of grade 1 or above, counted: q3, q4`,
      '',
    ]);
  });

  it('warns of a run without any judged query, and has no number for it', async () => {
    const other = await folder.put({ 'other.run': 'Q1 Q0 a 1 1 t\n' });
    const empty = await folder.put({ 'empty.run': '' });
    const { out, error, status } = winnow(['--qrels', qrels, '--run', other, 'RR', 'NumRet', 'NumQ']);
    expect([out, status]).toEqual(['RR    \tall\tnan\nNumRet\tall\t0\nNumQ  \tall\t3\n', 0]);
    expect(error).toBe(
      `winnow: warning: ${other} has no query of ${qrels}, so nothing was measured: the run has Q1; judged are q1, q2, q3\n`,
    );
    expect(winnow(['--qrels', qrels, '--run', empty, 'RR']).error).toContain('the run has no queries; judged are q1');
    expect(JSON.parse(winnow(['--qrels', qrels, '--run', other, '--json', 'RR']).out)).toEqual({
      mean: { RR: null },
      perQuery: { q1: { RR: null }, q2: { RR: null }, q3: { RR: null } },
    });
  });

  it('measures several runs', async () => {
    const other = await folder.put({ 'b.run': 'q1 Q0 d 1 1 t\n' });
    const { out } = winnow(['--qrels', qrels, '--run', run, '--run', other, 'RR', 'AP']);
    const width = Math.max(run.length, other.length);
    const lines = (
      [
        [run, '0.2222', '0.2315'],
        [other, '0.3333', '0.1111'],
      ] as const
    ).map(([path, rr, ap]) => `${path.padEnd(width)}\tRR\tall\t${rr}\n${path.padEnd(width)}\tAP\tall\t${ap}\n`);
    expect(out).toBe(lines.join(''));
    const { runs } = JSON.parse(winnow(['--qrels', qrels, '--run', run, '--run', other, '--json', 'RR']).out);
    expect(runs.map((one: { run: string; mean: object }) => [one.run, one.mean])).toEqual([
      [run, { RR: 2 / 9 }],
      [other, { RR: 1 / 3 }],
    ]);
  });

  it('a query that the reference lacks has no overlap', async () => {
    const partial = await folder.put({ 'partial.run': RUN.replaceAll(/^q2 .*\n/gm, '') });
    const { out, error } = winnow(['--qrels', qrels, '--run', run, '--reference', partial, 'RBO']);
    expect(out).toBe('RBO\tall\t0.3333\n');
    expect(error).toContain(`${partial}: without 2 of the judged queries: q2, q3\n`);
  });

  it.each([
    [['--qrels', qrels, '--run', run, '--reference', run, 'RR'], 2, '--reference: expected RBO among the measures'],
    [['--qrels', qrels, '--run', '-', '--run', '-', 'RR'], 2, '--run: expected standard input (-) once, got twice'],
    [['--qrels', qrels, '--run', run, 'XYZ@3'], 2, 'winnow: measure XYZ@3: expected one of nDCG'],
    [['--qrels', qrels, '--run', 'nowhere', 'RR'], 2, 'winnow: nowhere: expected a readable file, got no such file'],
    [['--qrels', qrels, '--run', qrels, 'RR'], 2, ':1: expected 6 fields'],
    [['--qrels', qrels, 'RR'], 2, "required option '--run <file>' not specified"],
    [['--qrels', qrels, '--run', run], 2, "missing required argument 'measures'"],
  ])('%j fails with status %i', (args, status, message) => {
    const got = winnow(args);
    expect(got.status).toBe(status);
    expect(got.error).toContain(message);
    expect(got.error).not.toContain('    at ');
  });

  it('--help has examples and names every measure', () => {
    const help = execFileSync(process.execPath, [WINNOW, 'measure', '--help']).toString();
    expect(help).toContain("$ npx winnow measure --qrels qrels.dl19-passage.txt --run bm25.run nDCG@10 'AP(rel=2)'");
    expect(help).toMatch(/Success@k\s+1 where a relevant document/);
  });
});
