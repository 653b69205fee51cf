import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { merge, parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { withSteps } from '../../../src/training/run/epochs.ts';
import { winnow } from '../../support/command.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-epochs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 50);
  writeFileSync(join(folder, 'empty.jsonl'), '{"query":"q","pos":[],"neg":["x"]}\n');
});

const documentOf = (over: object) => ({
  name: 'tiny',
  backbone: 'tiny',
  objective: 'InfoNCE',
  data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
  maxLength: 16,
  threads: 1,
  ...over,
});
const load = (over: object) => ({ recipe: parseRecipe(documentOf(over), 'test'), folder, source: '' });

describe('epochs', () => {
  it.each([
    [{ epochs: 1, batch: { queries: 4 } }, 13],
    [{ epochs: 2, batch: { queries: 5, accumulate: 2 } }, 10],
    [{ epochs: 0.5, batch: { queries: 5 } }, 5],
    [{ epochs: 0.001, schedule: { warmup: 0 } }, 1],
    [{ steps: 7 }, 7],
  ])('%j are %i steps', async (over, steps) => {
    expect((await withSteps(load(over))).recipe.steps).toBe(steps);
  });

  it('take the place of steps in a layer below, and the other way round; beside steps they are refused', () => {
    expect(merge({ steps: 5, seed: 1 }, { epochs: 2 })).toEqual({ epochs: 2, seed: 1 });
    expect(merge({ epochs: 2 }, { steps: 5 })).toEqual({ steps: 5 });
    expect(parseRecipe(documentOf({ preset: 'rank-distillm', epochs: 1 }), 'test').epochs).toBe(1);
    expect(() => load({ epochs: 1, steps: 10 })).toThrow(/steps or epochs, one of them/);
    expect(() => load({ epochs: 0 })).toThrow(/epochs/);
  });

  it('are refused where the warm-up takes all of their steps, or nothing is left to train on', async () => {
    await expect(withSteps(load({ epochs: 1, schedule: { warmup: 13 } }))).rejects.toThrow(
      'got 13 of 13 steps, which epochs 1 of 50 lists are (schedule.warmup)',
    );
    await expect(
      withSteps(load({ epochs: 1, data: { train: [{ format: 'jsonl', path: 'empty.jsonl' }] } })),
    ).rejects.toThrow(/training data: expected at least one list/);
  });

  it('are told with the steps they are, by train and by --explain', async () => {
    const file = join(folder, 'recipe.json');
    writeFileSync(file, JSON.stringify(documentOf({ epochs: 1 })));
    const run = await winnow('train', file, '--run', join(folder, 'run'));
    expect(run).toMatchObject({ code: 0, error: expect.stringContaining('epochs 1 of 50 lists: 13 steps of 4 lists') });
    const { output } = await winnow('train', file, '--explain', '--json');
    expect(JSON.parse(output)).toMatchObject({ recipe: { epochs: 1 }, steps: { total: 13, passesOverTheData: 1.04 } });
    const fewer = await winnow('train', file, '--run', join(folder, 'fewer'), '--steps', '2');
    expect(fewer.error).toContain('step 0 of 2');
  });
});
