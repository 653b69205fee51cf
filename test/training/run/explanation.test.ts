import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { PRESETS } from '../../../src/training/recipe/presets.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { explainRecipe } from '../../../src/training/run/explanation.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-explain-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('an explanation says what the run will do', async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 100);
  const document = {
    name: 'tiny',
    backbone: 'tiny',
    objective: 'MarginMSE',
    steps: 50,
    maxLength: 16,
    threads: 1,
    freeze: ['word_embeddings'],
    data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
    batch: { queries: 4, accumulate: 2, bucketBatches: 1 },
  };
  const explanation = await explainRecipe({ recipe: parseRecipe(document, 'test'), folder, source: '' });
  expect(explanation).toMatchObject({
    objective: { name: 'MarginMSE', needsJudgements: true, needsTeacher: true },
    data: { files: ['lists.jsonl'], lists: 100, counted: 'all', passagesAList: 4, leftOut: {} },
    steps: {
      total: 50,
      warmup: 5,
      listsAStep: 8,
      passagesAStep: 32,
      passesOverTheData: 4,
      validations: 0,
      checkpoints: 1,
    },
    // The tiny model: 45 × 16 word vectors; attention, dense and classifier.
    weights: { frozen: 45 * 16, trained: 16 * 16 + 16 * 16 + 16 + 16 + 1, freshHead: false },
  });
  expect(explanation.recipe.optimizer.learningRate).toBe(2e-5);
  expect(explanation.memory.weightsAndMoments).toBeCloseTo((4 * (545 * 5 + 720)) / 2 ** 20, 4);
  expect(explanation.time.stepsMeasured).toBe(2);
});

it('opens the validation set, which a run would only meet after its first steps', async () => {
  const document = {
    name: 'tiny',
    backbone: 'tiny',
    objective: 'InfoNCE',
    steps: 2,
    maxLength: 16,
    threads: 1,
    data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
    validation: { data: { format: 'jsonl', path: 'lists.jsonl' }, measure: 'RR@10' },
  };
  const explained = (over: object) =>
    explainRecipe({ recipe: parseRecipe({ ...document, ...over }, 'test'), folder, source: '' });
  const { validation } = await explained({});
  expect(validation).toMatchObject({ measure: 'RR@10', queries: 19, firstStage: 1, notes: [] });
  await expect(explained({ validation: { data: { format: 'jsonl', path: 'nowhere.jsonl' } } })).rejects.toThrow(
    /nowhere.jsonl/,
  );
});

it('presets are recipes', () => {
  const own = { name: 'x', backbone: 'b', objective: 'BCE', data: { train: [{ format: 'jsonl', path: 'l' }] } };
  const paper = parseRecipe({ ...own, preset: 'paper-2603.03010' }, 'test');
  expect(paper).toMatchObject({
    steps: 200_000,
    optimizer: { learningRate: 7e-6, weightDecay: 0, epsilon: 1e-8, clipNorm: 1 },
    schedule: { name: 'linear', warmup: 5000 },
  });
  expect(paper.batch.queries * (paper.data.sampler.positives + paper.data.sampler.negatives)).toBe(64);
  const distil = parseRecipe({ ...own, preset: 'rank-distillm' }, 'test');
  expect(distil).toMatchObject({
    batch: { queries: 1, accumulate: 32 },
    optimizer: { learningRate: 1e-5 },
    data: { sampler: { mode: 'window', depth: 100 } },
  });
  expect(distil.steps * 32).toBeGreaterThanOrEqual(3 * 10_000);
  expect(Object.values(PRESETS).every((preset) => preset.summary.length > 20)).toBe(true);
});
