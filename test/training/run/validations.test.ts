import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-validations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes lists of 6 passages with the relevant one at a place. */
function put(name: string, queries: number, place: number): object {
  const lists = Array.from({ length: queries }, (_, q) => ({
    query: WORDS[q],
    hits: Array.from({ length: 6 }, (_, i) => ({
      qid: `${q}`,
      docid: `${q}-${i}`,
      content: WORDS[20 + ((q + i + 20 - place) % 20)],
      rank: i + 1,
      score: -i,
    })),
  }));
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(lists));
  writeFileSync(join(folder, `${name}.qrels`), lists.map((_, q) => `${q} 0 ${q}-${place} 1\n`).join(''));
  return { format: 'rank-llm', path: `${name}.json`, qrels: `${name}.qrels` };
}

let main: object;
let other: object;
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 40);
  main = put('main', 4, 3);
  other = put('other', 3, 1);
});

async function curveOf(name: string, over: { validation: object; objective?: string }) {
  const document = {
    name: 'tiny',
    backbone: 'tiny',
    objective: 'InfoNCE',
    data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
    steps: 4,
    maxLength: 16,
    threads: 1,
    ...over,
  };
  const loaded = { recipe: parseRecipe(document, 'test'), folder, source: '' };
  const outcome = await train(loaded, join(folder, name));
  const points = readFileSync(join(folder, name, 'curve.jsonl'), 'utf8')
    .trim()
    .split('\n');
  return { outcome, points: points.map((line) => JSON.parse(line)).filter((point) => 'measure' in point) };
}

describe('a validation with further measures and sets', () => {
  it('records them at the same steps and lets them decide nothing', async () => {
    const alone = await curveOf('alone', { validation: { data: main, every: 2 } });
    const sets = [
      { name: 'other', data: other, measures: ['RR@10', 'P@1'] },
      { name: 'same', data: main },
    ];
    const { points, outcome } = await curveOf('more', {
      validation: { data: main, every: 2, measures: ['RR@10'], sets },
    });
    expect(points.map(({ step, measure, value }) => [step, measure, value])).toEqual(
      alone.points.map(({ step, measure, value }) => [step, measure, value]),
    );
    expect(outcome.weights).toEqual(alone.outcome.weights);
    for (const { value, others } of points) {
      expect(Object.keys(others)).toEqual([
        'RR@10',
        'loss',
        'other RR@10',
        'other P@1',
        'other loss',
        'same nDCG@10',
        'same loss',
      ]);
      expect(others['same nDCG@10']).toBe(value);
      expect(others['same loss']).toBe(others.loss);
      expect(others['other P@1']).toBeLessThanOrEqual(others['other RR@10']);
    }
    expect(outcome.validation).toMatchObject({ measure: 'nDCG@10', queries: 4 });
  });

  it('has the loss of equal scores before anything is learned, and none with a teacher', async () => {
    const still = { data: main, every: 1 };
    const { points } = await curveOf('loss', { validation: still });
    // The tiny model starts with scores near 0: the loss of 6 passages is near ln 6.
    expect(points[0].others.loss).toBeCloseTo(Math.log(6), 1);
    const taught = await curveOf('taught', { validation: still, objective: 'MarginMSE' });
    expect(taught.points.every(({ others }) => others === undefined)).toBe(true);
  });

  it('faults are named before the first step', async () => {
    const refused = (validation: object, message: RegExp) =>
      expect(curveOf('refused', { validation: { data: main, ...validation } })).rejects.toThrow(message);
    await refused({ measures: ['nDGC@10'] }, /nDGC@10/);
    await refused({ sets: [{ name: 'a', data: other, measures: ['what'] }] }, /what/);
    const twice = { name: 'a', data: other };
    await refused({ sets: [twice, twice] }, /validation.sets: expected each name once, got a twice/);
    await refused({ sets: [{ name: 'a', data: { format: 'rank-llm', path: 'gone.json' } }] }, /gone.json/);
  });
});
