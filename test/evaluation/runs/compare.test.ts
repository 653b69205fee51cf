import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { nameRuns } from '../../../src/evaluation/runs/compare-runs.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const WINNOW = join(import.meta.dirname, '..', '..', '..', 'bin', 'winnow.mjs');
const folder = temporaryFolder();

/** Rank of the relevant document of each query, by system: its reciprocal is the value of RR. */
const RANKS: Readonly<Record<string, readonly number[]>> = {
  bm25: [2, 4, 1, 5, 2, 4, 10, 2],
  dense: [1, 2, 1, 2, 1, 4, 5, 4],
  fused: [1, 1, 1, 4, 1, 2, 2, 1],
};
const runText = (ranks: readonly number[]): string =>
  ranks
    .flatMap((rank, q) =>
      Array.from({ length: 10 }, (_, i) => `q${q} Q0 ${i + 1 === rank ? 'rel' : `x${i}`} ${i + 1} ${20 - i} tag\n`),
    )
    .join('');
const qrels = RANKS.bm25!.map((_, q) => `q${q} 0 rel 1\n`).join('');
await folder.put({
  qrels: qrels,
  'bm25.run': runText(RANKS.bm25!),
  'dense.run.gz': gzipSync(runText(RANKS.dense!)),
  'fused.json': JSON.stringify(
    Object.fromEntries(
      RANKS.fused!.map((rank, q) => [
        `q${q}`,
        Object.fromEntries(Array.from({ length: 10 }, (_, i) => [i + 1 === rank ? 'rel' : `x${i}`, 20 - i])),
      ]),
    ),
  ),
  'queries.xml': `<topics>${RANKS.bm25!.map((_, q) => `<topic number="q${q}"><query>question ${q}</query></topic>`).join('')}</topics>`,
  'part.run': runText(RANKS.bm25!.slice(0, 5)),
  'other.run': 'z Q0 a 1 1 t\n',
});

function compare(args: readonly string[], input?: string) {
  const options = { cwd: folder.path, encoding: 'utf8' as const, env: { ...process.env, NO_COLOR: '1' } };
  const done = spawnSync(
    process.execPath,
    [WINNOW, 'compare', ...args],
    input === undefined ? options : { ...options, input },
  );
  return { out: done.stdout, error: done.stderr, code: done.status };
}
const RUNS = ['bm25.run', 'dense.run.gz', 'fused.json'];
const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

interface Report {
  data: {
    baseline: string;
    queries: number;
    measures: {
      measure: string;
      systems: { system: string; mean: number; interval: [number, number] }[];
      comparisons: { system: string; difference: number; p: number; adjustedP: number }[];
      tukey: { model: string; df?: number; pairs: { first: string; second: string; difference: number; p: number }[] };
      perQuery: Record<string, Record<string, number>>;
    }[];
  };
}
const json = (args: readonly string[]): Report['data'] => {
  const { out, error, code } = compare([...args, '--json']);
  expect(code, error).toBe(0);
  return (JSON.parse(out) as Report).data;
};

it('winnow compare takes the lists of trec_eval', () => {
  const names = ['--measure', 'P.5,10,nDCG(gains={1:2,2:3})@10,ndcg.1=3,2=7', '--measure', 'success'];
  const { out } = compare(['--qrels', 'qrels', ...names, '--json', 'bm25.run', 'part.run']);
  expect(JSON.parse(out).data.measures.map(({ measure }: { measure: string }) => measure)).toEqual([
    'P@5',
    'P@10',
    'nDCG(gains={1:2,2:3})@10',
    'nDCG(gains={1:3,2:7})',
    'Success@1',
    'Success@5',
    'Success@10',
  ]);
  const geometric = compare(['--qrels', 'qrels', '--measure', 'gm_map', 'bm25.run', 'part.run']);
  expect([geometric.code, geometric.error]).toEqual([2, expect.stringContaining('with a mean over queries, got GMAP')]);
});

describe('winnow compare', () => {
  it('gives means with intervals, paired tests, Tukey’s test and every query', () => {
    const data = json(['--qrels', 'qrels', '--measure', 'RR,nDCG@10', ...RUNS]);
    expect(data).toMatchObject({ baseline: 'bm25', queries: 8 });
    expect(data.measures.map(({ measure }) => measure)).toEqual(['RR', 'nDCG@10']);
    const [rr] = data.measures;
    for (const {
      system,
      mean: value,
      interval: [low, high],
    } of rr!.systems) {
      expect(value).toBeCloseTo(mean(RANKS[system]!.map((rank) => 1 / rank)), 12);
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
    }
    expect(Object.values(rr!.perQuery.fused!)).toEqual(RANKS.fused!.map((rank) => 1 / rank));
    // SciPy 1.17.1: ttest_rel, studentized_range over the residuals of the two-way model.
    expect(rr!.comparisons.map(({ system, p }) => [system, p])).toEqual([
      ['dense', expect.closeTo(0.10064340095312575, 9)],
      ['fused', expect.closeTo(0.004487599303242665, 9)],
    ]);
    expect(rr!.comparisons.map(({ adjustedP }) => adjustedP)).toEqual([
      expect.closeTo(0.10064340095312575, 9),
      expect.closeTo(2 * 0.004487599303242665, 9),
    ]);
    expect(rr!.tukey).toMatchObject({ model: 'two-way', df: 14 });
    expect(rr!.tukey.pairs.map(({ first, second, p }) => [first, second, p])).toEqual([
      ['bm25', 'dense', expect.closeTo(0.21793097824278185, 7)],
      ['bm25', 'fused', expect.closeTo(0.006133900731157493, 7)],
      ['dense', 'fused', expect.closeTo(0.16129698570003892, 7)],
    ]);
  });

  it('takes lists of measures in every spelling', () => {
    const measures = 'ndcg_cut.5,10,RR, nDCG(gains={0:0,1:2})@10,P(rel=1)@5';
    const data = json(['--qrels', 'qrels', '--measure', measures, '--measure', 'AP', ...RUNS]);
    const names = ['nDCG@5', 'nDCG@10', 'RR', 'nDCG(gains={1:2})@10', 'P@5', 'AP'];
    expect(data.measures.map(({ measure }) => measure)).toEqual(names);
  });

  it('tests against another baseline, by other tests', () => {
    const data = json([
      '--qrels',
      'qrels',
      '--measure',
      'RR',
      '--baseline',
      'fused',
      '--test',
      'randomization',
      '--correction',
      'none',
      '--tukey',
      'randomized',
      ...RUNS,
    ]);
    const [rr] = data.measures;
    expect(rr!.comparisons.map(({ system }) => system)).toEqual(['bm25', 'dense']);
    expect(rr!.comparisons[0]!.difference).toBeCloseTo(
      mean(RANKS.bm25!.map((r) => 1 / r)) - mean(RANKS.fused!.map((r) => 1 / r)),
      12,
    );
    // All 2^8 sign assignments: all 7 differences that are not 0 have one sign, so 2 of 2^7 reach the sum.
    expect(rr!.comparisons[0]!.p).toBeCloseTo(2 / 2 ** 7, 12);
    expect(rr!.tukey).toMatchObject({ model: 'randomized' });
    expect(rr!.tukey.df).toBeUndefined();
  });

  it('prints tables, with the texts of the queries', () => {
    const { out, error, code } = compare(['--qrels', 'qrels', '--measure', 'RR', '--queries', 'queries.xml', ...RUNS]);
    expect({ code, error }).toEqual({ code: 0, error: '' });
    expect(out).toMatch(
      /system {2,}mean {2,}95 % interval {2,}difference {2,}95 % interval {2,}p {2,}p adjusted {2,}better \/ worse/,
    );
    expect(out).toContain('8 queries. Paired t-test against bm25, Holm, α .05.');
    expect(out).toContain('queries are blocks (additive two-way model), df = 14');
    expect(out).toMatch(/q1 +question 1 +\.250 +1\.000 +\+\.750/);
    expect(out).toContain('RR of fused against bm25: better on 7, worse on 0 of 8 queries.');
  });

  it('writes a report with a picture of all queries', () => {
    const { out, code } = compare(['--qrels', 'qrels', '--out', 'report', 'a=bm25.run', 'b=dense.run.gz']);
    expect({ out, code }).toEqual({ out: 'report/report.html\nreport/report.md\nreport/report.json\n', code: 0 });
    const page = readFileSync(join(folder.path, 'report/report.html'), 'utf8');
    expect(page).toContain('All queries, b against a');
    expect(page.match(/<svg/g)!.length).toBeGreaterThan(1);
  });

  it('says which queries a run leaves out, and takes standard input', () => {
    const { out, error, code } = compare(
      ['--qrels', 'qrels', '--measure', 'RR', 'bm25.run', 'part=-'],
      runText(RANKS.bm25!.slice(0, 5)),
    );
    expect(code, error).toBe(0);
    expect(error).toContain('standard input: 3 queries of 8 judged not in the run, counted as 0: q5, q6, q7');
    expect(out).toContain('counted as 0: q5, q6, q7');
  });

  it.each<[string, readonly string[], string]>([
    ['one run', ['--qrels', 'qrels', 'bm25.run'], 'expected at least 2 runs, got 1'],
    ['a system twice', ['--qrels', 'qrels', 'a=bm25.run', 'a=part.run'], 'expected each system once, got a twice'],
    [
      'an unknown baseline',
      ['--qrels', 'qrels', '--baseline', 'x', 'bm25.run', 'part.run'],
      'baseline: expected one of bm25, part, got x',
    ],
    [
      'a run of other queries',
      ['--qrels', 'qrels', 'bm25.run', 'other.run'],
      'other.run: expected a run with queries of qrels, got none of them',
    ],
    [
      'a count',
      ['--qrels', 'qrels', '--measure', 'NumRet', 'bm25.run', 'part.run'],
      'expected measures with a mean over queries, got NumRet',
    ],
    [
      'an unknown measure',
      ['--qrels', 'qrels', '--measure', 'nDGC@10', 'bm25.run', 'part.run'],
      'measure nDGC@10: expected',
    ],
    [
      'no such file',
      ['--qrels', 'qrels', 'bm25.run', 'nope.run'],
      'nope.run: expected a readable file, got no such file',
    ],
  ])('%s is refused with exit code 2', (_, args, message) => {
    const { error, code } = compare(args);
    expect(error).toContain(message);
    expect(code).toBe(2);
  });

  it('names systems by their files', () => {
    expect(nameRuns(['runs/a.run.gz', 'b.trec', 'c']).map(({ system }) => system)).toEqual(['a', 'b', 'c']);
    expect(nameRuns(['1/a.run', '2/a.run']).map(({ system }) => system)).toEqual(['1/a.run', '2/a.run']);
  });
});
