import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Entry } from '../../bench/peers/entry.ts';
import { markdown, type Result, verdict } from '../../bench/peers/report.ts';
import { BASELINE, OURS, ROWS, type Row, type Scene } from '../../bench/peers/rows.ts';
import { jobsOf, startSides } from '../../bench/peers/sides.ts';
import { accuracyOf, mixedBatches, spread, type Work } from '../../bench/peers/work.ts';

const LENGTHS = [3, 9, 5, 7];
/** Two queries with two candidates each; the second candidate of both is relevant. */
const WORK: Work = {
  pairs: LENGTHS.map((n, i) => [`q${i >> 1}`, 'p'.repeat(n)] as const),
  rows: LENGTHS.map((n) => ({ ids: Array.from({ length: n }, (_, i) => i), secondSegment: 2 })),
  lists: [
    { qid: 'a', docids: ['d0', 'd1'], first: 0 },
    { qid: 'b', docids: ['d0', 'd1'], first: 2 },
  ],
  speed: [0, 1, 2, 3],
  alone: [1, 2],
  maxLength: 16,
  qrels: new Map(['a', 'b'].map((qid) => [qid, new Map([['d1', 1]])])),
};
const LAYOUT = { processes: 2, threads: 1 };

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'winnow-peers-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Writes a program that speaks the protocol and scores a row by the number of its tokens. */
function program(score: string): (job: string) => readonly [string, ...string[]] {
  const file = join(scratch, `${Math.random()}.ts`);
  const protocol = JSON.stringify(join(import.meta.dirname, '../../bench/peers/protocol.ts'));
  writeFileSync(
    file,
    `import { readJob, serveRuns } from ${protocol}; const job = readJob(); await serveRuns('mine 1', job, ${score});`,
  );
  return (job) => [process.execPath, file, job];
}
const COUNTS = 'async (batch) => batch.map((i) => job.rows[i][0].length)';

describe('processes of a contestant', () => {
  it('share the batches, and their scores come back in the order of the pairs', async () => {
    const jobs = jobsOf(WORK, { file: 'f', tokens: 14, command: program(COUNTS) }, LAYOUT);
    expect(jobs.map(({ all }) => all)).toEqual([[[1], [0]], [[3, 2]]]);
    expect(jobs.map(({ alone }) => alone)).toEqual([[[1]], [[2]]]);
    const mine = await startSides(WORK, { file: 'f', tokens: 14, command: program(COUNTS) }, LAYOUT, 60_000);
    expect(mine.version).toBe('mine 1');
    await mine.round();
    expect([...(await mine.together())]).toEqual(LENGTHS);
    expect([...(await mine.alone())]).toEqual([9, 5]);
    expect([...(await mine.mixed())]).toEqual([9, 5]);
    await mine.close();
  });

  it('get texts in one batch each where they tokenize themselves', () => {
    const jobs = jobsOf(WORK, { file: 'f', command: program(COUNTS) }, LAYOUT);
    expect(jobs.map(({ speed }) => speed)).toEqual([[[0, 2]], [[1, 3]]]);
    expect(jobs[0]!.pairs).toEqual(WORK.pairs);
  });

  it('that end are quoted, those that do not answer are killed at the deadline', async () => {
    const start = (command: (job: string) => readonly [string, ...string[]], ms: number) =>
      startSides(WORK, { file: 'f', tokens: 14, command }, LAYOUT, ms);
    const broken = program('async () => { throw new Error("no such operator") }');
    await expect(start(broken, 60_000)).rejects.toThrow(/got the end of the process: .*no such operator/s);
    await expect(start(program('() => new Promise(() => setInterval(() => {}, 99))'), 1500)).rejects.toThrow(
      /expected an answer within 1.5 s, got none/,
    );
    await expect(start(() => [join(scratch, 'no-program')], 60_000)).rejects.toThrow(/ENOENT/);
  });
});

describe('a row', () => {
  const row = (start: Row['start']): Row => ({ id: 'x', title: 'X', given: 'texts', start });
  const scene = { python: '', plain: '/nowhere', why: {} } as unknown as Scene;

  it('of a program that is not there has the reason', async () => {
    const torch = new Entry(ROWS.find(({ id }) => id === 'st-fp32')!);
    await torch.open(scene);
    expect(torch.result()).toMatchObject({ reason: 'no Python given (--python)', seconds: [] });
    const openvino = new Entry(ROWS.find(({ id }) => id === 'ov-int8')!);
    await openvino.open({ ...scene, why: { nncf: "ModuleNotFoundError: No module named 'nncf'" } });
    expect(openvino.result().reason).toBe("ModuleNotFoundError: No module named 'nncf'");
  });

  it('of a program that fails in a round is closed and has the reason', async () => {
    let closed = 0;
    const round = () => Promise.reject(new Error('gone\nat line 1'));
    const none = async () => new Float64Array();
    const close = async () => void closed++;
    const scores = { together: none, alone: none, mixed: none };
    const entry = new Entry(row(async () => ({ version: 'v', pids: [], round, ...scores, close })));
    await entry.open(scene);
    await entry.time();
    await entry.time();
    expect(entry.result()).toMatchObject({ reason: 'gone', seconds: [], version: 'v' });
    expect(closed).toBe(1);
  });

  it('ids are unique, and the rows to compare with exist', () => {
    const ids = ROWS.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining([BASELINE, OURS]));
    for (const { scoresAs = BASELINE } of ROWS) expect(ids).toContain(scoresAs);
  });
});

it('accuracy is nDCG, the largest drift, and the error against float32', () => {
  // Query a ranks the relevant passage first, b second: (1 + 1 / log2(3)) / 2.
  const scores = { alone: [2.5, 4.25], mixed: [2.75, 5.25] };
  const { ndcg, drift, mixedDrift, error } = accuracyOf(WORK, [1, 2, 4, 3], scores, [1, 2, 4, 5]);
  expect(ndcg).toBeCloseTo((1 + 1 / Math.log2(3)) / 2, 12);
  expect([drift, mixedDrift, error]).toEqual([0.5, 1, 1]);
  expect(accuracyOf(WORK, [1, 2, 4, 3], { alone: [2, 4], mixed: [2, 4] }).error).toBeNaN();
});

it('mixed batches keep the order given, whatever the lengths, and hold a pair that is scored alone', () => {
  const rows = [3, 9, 5, 7, 2, 2, 2].map((n) => ({ ids: Array.from({ length: n }, () => 1), secondSegment: 1 }));
  expect(mixedBatches({ rows, alone: [0, 1, 2, 3, 4, 5, 6] }, 18)).toEqual([
    [0, 1],
    [2, 3],
    [4, 5, 6],
  ]);
  expect(mixedBatches({ rows, alone: [1, 6] }, 18)).toEqual([
    [0, 1],
    [4, 5, 6],
  ]);
  expect(mixedBatches({ rows, alone: [0, 1, 2, 3, 4, 5, 6] }, 1)).toHaveLength(7);
  const many = Array.from({ length: 70 }, () => rows[0]!);
  expect(mixedBatches({ rows: many, alone: [0, 69] }, undefined).map((batch) => batch.length)).toEqual([32, 6]);
});

it('spread values are evenly spaced, all of them where there are no more', () => {
  expect(spread([0, 1, 2, 3, 4, 5], 3)).toEqual([0, 2, 4]);
  expect(spread([0, 1], 3)).toEqual([0, 1]);
});

describe('the table', () => {
  const result = (id: string, seconds: number[], more: Partial<Result> = {}): Result => ({
    ...{ id, title: id, given: 'texts', isOurs: id === OURS, version: 'v', seconds, cpu: seconds, bytes: 5e6 },
    ...more,
  });
  const found = (results: readonly Result[]) => ({
    ...{ machine: 'M', pairs: 100, tokens: 95, layout: '2', load: 'L', otherCpu: 1 },
    results,
  });

  it('has ratios within rounds, and names the fastest other program by them', () => {
    const slow = result('slow', [10, 20, 40]);
    const fast = result('fast', [2, 4, 8]);
    const all = found([result(BASELINE, [8, 16, 32]), slow, fast, result(OURS, [1, 2, 8])]);
    expect(markdown(all)).toContain('| fast ');
    expect(markdown(all)).toMatch(/\| fast .*\| +25 \(13–50\) \| +4.00 \(4.00–4.00\) \| +4.00 \|/);
    expect(verdict(all)).toBe(`${OURS}: 2.00 (1.00–2.00) times the pairs/s of the fastest other program, fast.`);
  });

  it('shows a reason in place of figures, and compares with nothing where all else is missing', () => {
    const all = found([result(BASELINE, [], { reason: 'no Python given' }), result(OURS, [1])]);
    expect(markdown(all)).toMatch(new RegExp(`\\| ${BASELINE} +\\| no Python given \\| +– \\|`));
    expect(verdict(all)).toMatch(/No comparison/);
  });
});
