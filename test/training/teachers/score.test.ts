import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTeacher } from '../../../src/training/data/teacher.ts';
import { lengthBatches } from '../../../src/training/step/row-scorer.ts';
import { openBiEncoder } from '../../../src/training/teachers/bi-encoder.ts';
import { meanScores, type ScoredList } from '../../../src/training/teachers/ensemble.ts';
import { llmRanker } from '../../../src/training/teachers/llm/ranker.ts';
import { runScoreJob } from '../../../src/training/teachers/score-job.ts';
import { cutTexts } from '../../../src/training/teachers/teacher-file.ts';
import { openJobLog, readJobLog } from '../../../src/util/job-log.ts';
import { hasQuery, parseShard, shardFile } from '../../../src/util/shard.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const ENCODER = join(ROOT, '..', 'shared', 'backbones', 'all-minilm-l6-v2');
const folder = mkdtempSync(join(tmpdir(), 'winnow-score-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('shards', () => {
  it('every query is in exactly one, and each has its file', () => {
    const shards = [0, 1, 2].map((i) => parseShard(`${i}/3`));
    for (let q = 0; q < 200; q++) expect(shards.filter((shard) => hasQuery(shard, `q${q}`)).length).toBe(1);
    expect(shardFile('a/teacher.run', shards[1]!)).toBe('a/teacher.1-of-3.run');
    expect(shardFile('teacher.run.gz', shards[1]!)).toBe('teacher.1-of-3.run.gz');
    for (const wrong of ['3/3', '1', '-1/2', '0/0']) expect(() => parseShard(wrong)).toThrow(/expected i\/n/);
  });
});

describe('the log of a job', () => {
  const path = join(folder, 'log');
  const list = (qid: string) => ({ qid, docids: ['a', 'b'], scores: [1.5, -2] });
  const all = async () => {
    const lists = [];
    for await (const each of readJobLog<ScoredList>(path)) lists.push(each);
    return lists;
  };

  it('continues after the last whole line', async () => {
    const log = await openJobLog<ScoredList>(path, { scorer: 'x' });
    expect(log.done).toBe(0);
    await log.append(list('1'));
    await log.append(list('2'));
    await log.close();
    appendFileSync(path, '{"qid":"3","doc');
    const again = await openJobLog<ScoredList>(path, { scorer: 'x' });
    expect(again.done).toBe(2);
    await again.append(list('3'));
    await again.close();
    expect(await all()).toEqual([list('1'), list('2'), list('3')]);
  });

  it('refuses the progress of another job, and survives a kill within its first line', async () => {
    await expect(openJobLog<ScoredList>(path, { scorer: 'y' })).rejects.toThrow(
      /the progress of this job, .*"y".*remove the file/,
    );
    writeFileSync(path, '{"scor');
    const log = await openJobLog<ScoredList>(path, { scorer: 'y' });
    expect(log.done).toBe(0);
    await log.close();
    expect(readFileSync(path, 'utf8')).toBe('{"scorer":"y"}\n');
  });
});

describe('what teachers cut', () => {
  it('is counted over a job that was stopped: of several teachers, the most that one cut', async () => {
    const lists = ['1', '2', '3'].map((qid) => ({
      qid,
      query: 'one two three',
      docids: ['a', 'b'],
      passages: ['x', 'x y z w'],
      relevance: [0, 1],
    }));
    const source = {
      files: [],
      lists: async function* () {
        yield* lists;
      },
      close: async () => {},
    };
    const job = { source, shard: parseShard('0/1'), depth: 10 };
    const client = { complete: async () => ({ text: '[1] > [2]', usage: { prompt: 1, completion: 1 } }) };
    const logs = [2, 3, 9].map((words) => join(folder, `cut-${words}`));
    for (const [i, words] of [2, 3, 9].entries()) {
      const options = { name: `w${words}`, size: 4, stride: 2, words, concurrency: 1 };
      const scorer = llmRanker(client, options, { windows: 0, repaired: 0, unusable: 0 });
      const stop = () => {
        throw new Error('stopped');
      };
      if (i === 0)
        await expect(runScoreJob(job, scorer, logs[i]!, (done) => (done === 2 ? stop() : undefined))).rejects.toThrow(
          'stopped',
        );
      await runScoreJob(job, scorer, logs[i]!);
    }
    expect(await cutTexts(logs.slice(2))).toEqual({ queries: 0, passages: 0 });
    expect(await cutTexts(logs.slice(1))).toEqual({ queries: 0, passages: 3 });
    expect(await cutTexts(logs)).toEqual({ queries: 3, passages: 3 });
  });
});

describe('mean of teachers', () => {
  const one = { qid: 'q', docids: ['a', 'b', 'c'], scores: [2, 4, 6] };
  it('raw, and on one scale', () => {
    const other = { ...one, scores: [100, 0, 50] };
    expect(meanScores([one, other]).scores).toEqual([51, 2, 28]);
    expect(meanScores([one, other], 'min-max').scores).toEqual([0.5, 0.25, 0.75]);
    const z = Math.sqrt(1.5);
    expect(meanScores([one], 'z').scores).toEqual([expect.closeTo(-z), 0, expect.closeTo(z)]);
    expect(meanScores([{ ...one, scores: [3, 3, 3] }], 'z').scores).toEqual([0, 0, 0]);
    expect(() => meanScores([one, { ...one, docids: ['a', 'c', 'b'] }])).toThrow(/the same passages/);
  });
});

describe.skipIf(!existsSync(ENCODER))('bi-encoder (needs ../shared/backbones)', () => {
  it('gives the cosines of its card, alone and in a batch', async () => {
    const encoder = await openBiEncoder(ENCODER, { threads: 1 });
    try {
      const texts = [
        'A man is eating food.',
        'A man is eating a piece of bread.',
        'The girl is carrying a baby.',
        'How long does a flea live?',
        'The life cycle of a flea can last up to a year.',
      ];
      const [man, bread, girl, flea, year] = (await encoder.embed(texts)) as Float32Array[];
      const cosine = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
      expect(cosine(man!, bread!)).toBeCloseTo(0.755, 3);
      expect(cosine(flea!, year!)).toBeCloseTo(0.834, 3);
      expect(cosine(man!, girl!)).toBeCloseTo(-0.105, 3);
      const [alone] = await encoder.embed([texts[0]!]);
      expect(cosine(alone!, man!)).toBeCloseTo(1, 5);
    } finally {
      await encoder.close();
    }
  });

  it('batches by length within a budget', () => {
    const batches = lengthBatches([5, 100, 6, 7, 90], { tokens: 200 });
    expect(batches).toEqual([
      [0, 2, 3],
      [4, 1],
    ]);
  });
});

describe('winnow score', () => {
  beforeAll(async () => {
    await writeTinyModel(join(folder, 'models', 'tiny', '1'));
    tinyData(join(folder, 'lists.jsonl'), 400);
  });
  const start = (out: string, ...more: readonly string[]) => {
    const args = [
      'score',
      '--format',
      'jsonl',
      '--data',
      'lists.jsonl',
      '--model',
      'tiny',
      '--provider',
      'cpu',
      '--out',
      out,
      ...more,
    ];
    const child = spawn(process.execPath, [join(ROOT, 'bin', 'winnow.mjs'), ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    return { child, output: () => output };
  };

  it('killed with -9 and started again, its scores are those of an undisturbed run; shards add up to it', async () => {
    const whole = start('whole.run');
    expect([(await once(whole.child, 'exit'))[0], whole.output()]).toEqual([0, expect.stringContaining('queries')]);
    const killed = start('killed.run');
    const progress = join(folder, 'killed.run.0.progress');
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (!existsSync(progress) || readFileSync(progress, 'utf8').split('\n').length < 20) return;
        killed.child.kill('SIGKILL');
      }, 2);
      killed.child.once('exit', () => {
        clearInterval(look);
        resolve();
      });
    });
    expect(existsSync(join(folder, 'killed.run'))).toBe(false);
    const again = start('killed.run');
    expect((await once(again.child, 'exit'))[0]).toBe(0);
    const [undisturbed, resumed] = [
      await readTeacher(join(folder, 'whole.run'), 'score'),
      await readTeacher(join(folder, 'killed.run'), 'score'),
    ];
    expectSameScores(resumed, undisturbed);
    expect(resumed.size).toBe(undisturbed.size);
    expect(readdirSync(folder).filter((name) => name.endsWith('.progress'))).toEqual([]);
    const part = start('whole.run', '--shard', '0/2');
    expect((await once(part.child, 'exit'))[0]).toBe(0);
    const [all, half] = [
      await readTeacher(join(folder, 'whole.run'), 'score'),
      await readTeacher(join(folder, 'whole.0-of-2.run'), 'score'),
    ];
    expect([all.size, half.size > 0, half.size < all.size]).toEqual([20, true, true]);
    expectSameScores(half, all);
  }, 120_000);
});

/** The shape of batches depends on timing and changes the last bits of scores: 1e-6 is guaranteed. */
function expectSameScores(
  got: Awaited<ReturnType<typeof readTeacher>>,
  expected: Awaited<ReturnType<typeof readTeacher>>,
): void {
  for (const [qid, scores] of got) {
    const known = expected.get(qid)!;
    expect([...scores.keys()].sort()).toEqual([...known.keys()].sort());
    for (const [docid, score] of scores)
      expect(Math.abs(score - known.get(docid)!), `${qid} ${docid}`).toBeLessThan(1e-6);
  }
}
