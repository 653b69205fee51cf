import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { openSources } from '../../../src/training/data/sources.ts';
import { createObjective } from '../../../src/training/objectives/catalog.ts';
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

it('counts a pass over several sources as they are drawn, with the first row of each reason, in one reading', async () => {
  const rows = (count: number, word: string) =>
    Array.from({ length: count }, (_, i) => ({
      query: `${word} ${i}`,
      pos: ['waa'],
      neg: i % 10 === 9 ? [] : ['wba'],
    }));
  const put = (name: string, text: string) => writeFileSync(join(folder, name), text);
  put(
    'one.jsonl',
    rows(60, 'wca')
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(''),
  );
  put(
    'two.jsonl',
    rows(30, 'wda')
      .map((row) => `${JSON.stringify({ ...row, url: 'x' })}\n`)
      .join(''),
  );
  put('drop.jsonl', '{"query":"wea","passage":"wfa"}\n');
  const document = {
    name: 'tiny',
    backbone: 'tiny',
    objective: 'InfoNCE',
    maxLength: 16,
    threads: 1,
    epochs: 2,
    schedule: { warmup: 0 },
    batch: { queries: 1 },
    data: {
      train: [
        { format: 'jsonl', path: 'one.jsonl', weight: 2, drop: 'drop.jsonl' },
        { format: 'jsonl', path: 'two.jsonl' },
      ],
    },
    validation: { data: { format: 'jsonl', path: 'one.jsonl' } },
  };
  const recipe = parseRecipe(document, 'test');
  const source = await openSources(recipe.data, folder, createObjective('InfoNCE').needs);
  let lists = 0;
  for await (const _ of source.lists(recipe.seed)) lists++;
  await source.close?.();
  const explanation = await explainRecipe({ recipe, folder, source: '' });
  expect(explanation.data).toEqual({
    files: ['one.jsonl', 'drop.jsonl', 'two.jsonl'],
    lists,
    counted: 'all',
    passagesAList: 2,
    leftOut: { 'no other passage': 9 },
    firstLeftOut: { 'no other passage': expect.stringMatching(/one\.jsonl:10$/) },
    notes: [
      expect.stringMatching(/1 of 1 pairs of the drop list .*drop\.jsonl:1\)$/),
      expect.stringMatching(/column "url" is not read \(first: .*two\.jsonl:1\)$/),
    ],
  });
  expect(explanation.steps.total).toBe(2 * lists);
  expect(explanation.validation?.leaks?.queries).toMatchObject({ shared: 60, of: 60 });
  // What train refuses, --explain refuses.
  const half = { ...document, data: { ...document.data, maxLeftOut: 0.05 } };
  await expect(explainRecipe({ recipe: parseRecipe(half, 'test'), folder, source: '' })).rejects.toThrow(
    /one\.jsonl: expected at most 5 % of the rows to be left out .*6 of 60/,
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
