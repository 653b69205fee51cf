import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type { BatchScores, InferenceRow } from '../../src/inference/inference-types.ts';
import { scoreBatch, scoreInHalves } from '../../src/inference/score-batch.ts';
import { row } from './graphs.ts';

const numbered = (count: number) => Array.from({ length: count }, (_, i) => row([i]));

const answer = (rows: readonly InferenceRow[]): BatchScores => ({
  scores: Float32Array.from(rows, ({ ids }) => ids[0]!),
  inferMs: 1,
  host: 0,
});

/** An engine that takes `most` rows at a time and never the rows named; it counts its runs. */
function engine(most: number, bad: ReadonlySet<number> = new Set()) {
  const runs: number[] = [];
  const run = async (rows: readonly InferenceRow[]) => {
    runs.push(rows.length);
    if (rows.length > most) throw new WinnowError('inference_failed', { reason: 'out of memory' });
    if (rows.some(({ ids }) => bad.has(ids[0]!))) throw new WinnowError('inference_failed', { reason: 'bad row' });
    return answer(rows);
  };
  return { run, runs };
}

describe('splitting', () => {
  it('gives every row its score, whatever size fits', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), async (count, most) => {
        const { scores } = await scoreInHalves(numbered(count), engine(most).run);
        expect([...scores]).toEqual(Array.from({ length: count }, (_, i) => i));
      }),
    );
  });

  it('names the first row that fails alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 70 }), fc.array(fc.nat(69), { minLength: 1 }), async (count, some) => {
        const bad = new Set(some.map((i) => i % count));
        const run = scoreInHalves(numbered(count), engine(count, bad).run);
        await expect(run).rejects.toMatchObject({ code: 'inference_failed', params: { row: Math.min(...bad) } });
      }),
    );
  });

  it('a fault of every row costs no run for every row', async () => {
    const { run, runs } = engine(0);
    await expect(scoreInHalves(numbered(64), run)).rejects.toThrow('row 0 fails alone: out of memory');
    expect(runs).toEqual([64, 32, 16, 8, 4, 2, 1]);
  });

  it('leaves other errors alone', async () => {
    const lost = new WinnowError('host_lost', { reason: 'gone' });
    await expect(scoreInHalves(numbered(8), () => Promise.reject(lost))).rejects.toBe(lost);
  });

  it('says how often it split', async () => {
    let splits = 0;
    await scoreBatch(numbered(8), 1, engine(2).run, () => splits++);
    expect(splits).toBe(3);
  });
});
