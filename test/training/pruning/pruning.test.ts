import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { createLocalPool } from '../../../src/inference/local-pool.ts';
import { createRegistry } from '../../../src/registry/folder-registry.ts';
import { createReranker } from '../../../src/rerank/reranker.ts';
import { createScheduler } from '../../../src/scheduling/scheduler.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import type { EncodedRow } from '../../../src/tokenization/tokenization-types.ts';
import { type DataSource, dataSourceSchema } from '../../../src/training/data/data-schema.ts';
import { calibratePruning, writePruning } from '../../../src/training/pruning/calibrate-pruning.ts';
import { gaps, kept, marginOf, type ScoredList } from '../../../src/training/pruning/margins.ts';
import { solveRidge, sumsOf } from '../../../src/training/pruning/ridge.ts';
import { createRandom } from '../../../src/util/random.ts';
import { ask } from '../../rerank/fake-service.ts';
import { WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const work = mkdtempSync(join(tmpdir(), 'winnow-pruning-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const list = (early: readonly number[], scores: readonly number[]): ScoredList => ({
  early: Float32Array.from(early),
  scores: Float32Array.from(scores),
});

describe('margins', () => {
  it('are what the first passages lie below the early score of place n', () => {
    // First by score: places 2 and 0; the early score of place 2 is 3.
    const one = list([1, 4, 3, 2], [8, 1, 9, 2]);
    expect(gaps(one, 2)).toEqual([0, 2]);
    expect(kept([one], 2, 1.5)).toEqual({ rows: 3 / 4, recall: 0.5 });
    expect(kept([one], 2, 2)).toEqual({ rows: 1, recall: 1 });
  });

  it('reach the recall on the lists that they were taken from', () => {
    const lists = fc.array(
      fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -50, max: 50 })), {
        minLength: 4,
        maxLength: 12,
      }),
      { minLength: 10, maxLength: 30 },
    );
    fc.assert(
      fc.property(lists, fc.integer({ min: 1, max: 3 }), fc.constantFrom(0.5, 0.8, 0.9), (drawn, n, recall) => {
        const found = drawn.map((pairs) =>
          list(
            pairs.map(([e]) => e),
            pairs.map(([, s]) => s),
          ),
        );
        const margin = marginOf(found, n, recall)!;
        expect(margin).toBeGreaterThanOrEqual(0);
        expect(kept(found, n, margin).recall).toBeGreaterThanOrEqual(recall);
        const narrower = kept(found, n, margin - 1).recall;
        if (margin >= 1) expect(narrower).toBeLessThanOrEqual(recall + 1 / found.length);
      }),
      { numRuns: 50 },
    );
  });

  it('are unknown where the lists are too few for the recall', () => {
    expect(marginOf([list([1, 2], [1, 2])], 1, 0.9)).toBeUndefined();
    expect(marginOf([], 1, 0.5)).toBeUndefined();
  });
});

describe('the fit', () => {
  it('finds the weights that made the targets, and 0 for a feature that never varies', async () => {
    const random = createRandom(5);
    const truth = [2, -1, 0.5, 0];
    const rows = Array.from({ length: 60 }, () => [random.normal(), random.normal(), random.normal(), 0]);
    const targets = Float32Array.from(rows, (row) => row.reduce((sum, x, i) => sum + x * truth[i]!, 0));
    const sums = await sumsOf(Float32Array.from(rows.flat()), targets, 4);
    for (const [i, w] of solveRidge(sums, 0).entries()) expect(w).toBeCloseTo(truth[i]!, 4);
    expect(Math.abs(solveRidge(sums, 1)[0]!)).toBeLessThan(1.6);
  });
});

/** Candidate lists of the tiny model's words, as rank_llm JSON. */
function writeLists(path: string, count: number, seed: number): DataSource {
  const random = createRandom(seed);
  const lists = Array.from({ length: count }, (_, q) => ({
    query: `${WORDS[q % 20]} ${WORDS[random.below(20)]}`,
    hits: Array.from({ length: 20 }, (__, i) => ({
      qid: `${seed}-${q}`,
      docid: `d${q}-${i}`,
      rank: i + 1,
      score: 20 - i,
      content: Array.from({ length: 3 + random.below(4) }, () => WORDS[random.below(40)]).join(' '),
    })),
  }));
  writeFileSync(path, JSON.stringify(lists));
  return dataSourceSchema.parse({ format: 'rank_llm', path });
}

describe('a calibrated version', () => {
  it('keeps the first passages of new lists with their scores, and leaves out the others', async () => {
    const folder = await writeTinyModel(join(work, 'registry', 'tiny', '1'));
    const data = [writeLists(join(work, 'lists.json'), 100, 1)];
    const { facts, curve, count } = await calibratePruning(folder, { data, depth: 100, share: 0.5, variant: 'auto' });
    expect(facts).toMatchObject({ lists: 100, counts: [1, 2, 3, 5, 10] });
    expect(count).toBe(10);
    for (const { recall, found } of curve) expect(found).toBeGreaterThanOrEqual(recall);
    await writePruning(folder, undefined, facts);
    expect(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')).pruning.lists).toBe(100);

    await using stack = new AsyncDisposableStack();
    const pool = await createLocalPool();
    stack.defer(() => pool.close());
    const tokenizers = { for: createLocalTokenizer };
    const registry = await createRegistry({ folder: join(work, 'registry'), pool, tokenizers, watch: false });
    stack.defer(() => registry.close());
    const scheduler = createScheduler<EncodedRow>({
      executor: { concurrency: 1, execute: (key, rows) => pool.run(key, rows) },
      limits: { batchTokens: 4096, batchRows: 64, queueTokens: 100_000, maxWaitMs: 60_000, agingMs: 2000 },
    });
    stack.defer(() => scheduler.close());
    const reranker = createReranker({ registry, tokenizers, scheduler });
    let [pruned, same] = [0, 0];
    for (const { query, hits } of JSON.parse(readFileSync(writeLists(join(work, 'new.json'), 30, 2).path, 'utf8'))) {
      const passages = hits.map(({ content }: { content: string }) => content);
      const request = { ...ask(passages), query, topN: 3 };
      const whole = await reranker.rerank(request);
      const some = await reranker.rerank({ ...request, prune: { recall: 0.9 } });
      pruned += some.pruned!.passages;
      const scoreOf = new Map((await reranker.rerank({ ...request, topN: 20 })).ranking.map((r) => [r.index, r.score]));
      for (const { index, score } of some.ranking) expect(score).toBeCloseTo(scoreOf.get(index)!, 5);
      same += some.ranking.filter((one) => whole.ranking.some(({ index }) => index === one.index)).length;
    }
    expect(same).toBeGreaterThanOrEqual(0.8 * 90);
    expect(pruned).toBeGreaterThan(60);
  });

  it('is not pruned, and says so, when its ONNX file is another than that of the calibration', async () => {
    const folder = await writeTinyModel(join(work, 'moved', 'tiny', '1'));
    const data = [writeLists(join(work, 'more.json'), 30, 3)];
    const { facts } = await calibratePruning(folder, { data, depth: 10, share: 0, variant: 'auto' });
    await writePruning(folder, undefined, { ...facts, sha256: 'a'.repeat(64) });
    await using stack = new AsyncDisposableStack();
    const pool = await createLocalPool();
    stack.defer(() => pool.close());
    const tokenizers = { for: createLocalTokenizer };
    const registry = await createRegistry({ folder: join(work, 'moved'), pool, tokenizers, watch: false });
    stack.defer(() => registry.close());
    const lease = await registry.acquire('tiny');
    expect(lease.version.pruning).toBeUndefined();
    expect(lease.version.warnings.join()).toMatch(/pruning was calibrated with another file than onnx\/model.onnx/);
    lease.release();
  });

  it('needs lists, and enough of them', async () => {
    const folder = await writeTinyModel(join(work, 'few', 'tiny', '1'));
    const data = [writeLists(join(work, 'few.json'), 3, 4)];
    await expect(calibratePruning(folder, { data, depth: 10, share: 0, variant: 'auto' })).rejects.toThrow(
      /expected at least 20 lists of two passages or more, got 3/,
    );
  });
});
