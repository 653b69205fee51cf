import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createObjective } from '../../../src/training/objectives/catalog.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { explainRecipe } from '../../../src/training/run/explanation.ts';
import { peekRecipe } from '../../../src/training/run/peek.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { MPNET, mpnetShapes, randomWeights, writeCheckpoint } from '../../support/tiny-checkpoint.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';
import { tinyDocument, tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-checks-test-'));
beforeAll(async () => {
  const tiny = await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 20);
  // 64 positions, of which the first two are not those of tokens.
  const mpnet = await writeCheckpoint(join(folder, 'mpnet'), MPNET, randomWeights(mpnetShapes()));
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) copyFileSync(join(tiny, file), join(mpnet, file));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const loaded = (over: Record<string, unknown> = {}) => tinyRecipe(folder, over);
let runs = 0;
const run = (over: Record<string, unknown>) => train(loaded(over), join(folder, `run-${runs++}`));

describe('before the first step', () => {
  it.each([
    ['maxLength', { maxLength: 63 }],
    ['publish.maxLength', { publish: { registry: 'models', maxLength: 63 } }],
  ])('%s above the positions of the backbone is refused', async (where, over) => {
    await expect(run({ backbone: 'mpnet', ...over })).rejects.toThrow(
      `${where}: expected at most 62, the positions that mpnet has, got 63`,
    );
  });

  it('the longest pair that the backbone has positions for is taken', async () => {
    // Words that the smaller vocabulary has too.
    const row = { query: WORDS[0], pos: [WORDS[1]], neg: [WORDS[2], WORDS.slice(3, 15).join(' ').repeat(6)] };
    writeFileSync(join(folder, 'few.jsonl'), `${JSON.stringify(row)}\n`.repeat(4));
    const data = { train: [{ format: 'jsonl', path: 'few.jsonl' }], sampler: { negatives: 2 } };
    const few = { backbone: 'mpnet', data, maxLength: 62 };
    const [list] = (await peekRecipe(loaded(few), 1)).batches[0]!.lists;
    expect(Math.max(...list!.passages.map(({ tokens }) => tokens))).toBe(62);
    await expect(run(few)).resolves.toMatchObject({ step: 1 });
    await expect(run({ maxLength: 63 })).resolves.toMatchObject({ step: 1 });
  });

  it.each([
    [
      ['word_embedings'],
      /freeze: expected parts of names of weights, such as word_embeddings, .* got "word_embedings"/,
    ],
    [['word_embeddings', 'encoder.*.nowhere'], /got "encoder.\*.nowhere", which no name has/],
    [['*'], /freeze: expected at least one weight to train, got patterns that freeze all \d+/],
    [[''], /freeze: expected at least one weight to train/],
  ])('freeze %j is refused', async (freeze, message) => {
    await expect(run({ freeze })).rejects.toThrow(message);
    await expect(explainRecipe(loaded({ freeze }))).rejects.toThrow(message);
  });

  it('all files that are missing are named with their fields', async () => {
    const over = {
      data: { train: [{ format: 'jsonl', path: 'lists.jsonl', teacher: 'no.run' }] },
      validation: { data: { format: 'rank-llm', path: 'dev.json', qrels: 'dev.qrels' } },
    };
    const message =
      /recipe: expected files and folders that exist .* data.train\[0\].teacher: no.run, which does not; validation.data.path: dev.json, .*; validation.data.qrels: dev.qrels/;
    await expect(run(over)).rejects.toThrow(message);
    await expect(peekRecipe(loaded(over), 1)).rejects.toThrow(message);
    await expect(explainRecipe(loaded(over))).rejects.toThrow(message);
  });

  it('room for the checkpoints is', async () => {
    await expect(run({ checkpoint: { keep: 1e13 } })).rejects.toThrow(
      /expected room for 10000000000001 checkpoints \(`checkpoint.keep` says how many\), about [\d,]+ MiB, got [\d,]+ MiB/,
    );
  });

  it.each([
    [{ steps: 100, schedule: { warmup: 100 } }, false],
    [{ steps: 100, schedule: { warmup: 99 } }, true],
    [{ steps: 100, schedule: { warmup: 0.999 } }, false],
    [{ steps: 1 }, true],
  ])('%j: a warm-up that takes all steps is refused', (over, taken) => {
    const parse = () => parseRecipe(tinyDocument(over), 'test');
    if (taken) expect(parse).not.toThrow();
    else expect(parse).toThrow(/schedule.warmup: expected fewer steps than `steps`/);
  });

  it.each([
    [
      { mode: 'window', size: 5 },
      'data.sampler.size: expected only what mode window reads (mode, equalNegatives, inBatch, depth)',
    ],
    [{ size: 5 }, 'data.sampler.size: expected only what mode negatives reads'],
    [{ mode: 'as-is', negatives: 6 }, 'data.sampler.negatives: expected only what mode as-is reads'],
    [{ mode: 'list', teacherMargin: 1 }, 'data.sampler.teacherMargin: expected only what mode list reads'],
    [
      { mode: 'stratified', negativeRanks: [1, 5] },
      'data.sampler.negativeRanks: expected only what mode stratified reads',
    ],
  ])('sampler %j is refused: a field has no effect', (sampler, message) => {
    const data = { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler };
    expect(() => parseRecipe(tinyDocument({ data }), 'test')).toThrow(message);
  });

  it.each([
    { mode: 'window', depth: 5, equalNegatives: true },
    // A default, as `--explain` prints it.
    { mode: 'window', depth: 5, negatives: 7 },
    { mode: 'list', depth: 5, size: 3 },
    { mode: 'quantiles', size: 3 },
    { mode: 'stratified', negatives: 5, hardest: 2, teacherRatio: 0.9 },
    { positives: 2, negatives: 3, negativeRanks: [1, 9], teacherMargin: 1 },
  ])('sampler %j is taken', (sampler) => {
    const data = { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler };
    expect(parseRecipe(tinyDocument({ data }), 'test').data.sampler).toMatchObject(sampler);
  });

  it.each([
    [{ name: 'InfoNCE', temprature: 1 }, 'objective InfoNCE: expected only temperature, got `temprature`'],
    [{ name: 'Hinge', margin: 'x' }, /objective Hinge.margin: expected a number, got "x"/],
    [{ sum: [{ objective: 'BCE', weight: 1 }], name: 'BCE' }, 'objective: expected only `sum`, got `name` beside it'],
  ])('objective %j is refused', (objective, message) => {
    expect(() => createObjective(objective)).toThrow(message);
  });
});
