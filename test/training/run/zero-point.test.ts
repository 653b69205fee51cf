import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../../src/onnx/builder.ts';
import { prepare } from '../../../src/onnx/prepare.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { centered, findShift, lastBias, zeroPoint } from '../../../src/training/run/zero-point.ts';
import { loadBackbone, withWeights } from '../../../src/training/step/backbone.ts';
import { tinyEncoder } from '../../support/tiny-encoder.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { LEARNING, tinyRecipe } from '../../support/tiny-recipe.ts';

const scores = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 30 });

describe('zeroPoint', () => {
  it('is the middle of two scores', () => {
    expect(zeroPoint([3], [-1])).toBeCloseTo(-1, 3);
    expect(zeroPoint([-12, -12], [-16])).toBeCloseTo(14, 3);
  });

  it('lies between passages that the model tells apart, however many there are of each', () => {
    const b = zeroPoint([-8, -7.5], [-12, -13, -14, -12.5, -13.3, -12.2]);
    expect(b).toBeGreaterThan(8);
    expect(b).toBeLessThan(12);
  });

  it('confuses both kinds to the same extent', () => {
    fc.assert(
      fc.property(scores, scores, (relevant, others) => {
        const b = zeroPoint(relevant, others);
        const mean = (x: number[], sign: number) =>
          x.reduce((sum, s) => sum + 1 / (1 + Math.exp(-sign * (s + b))), 0) / x.length;
        expect(Math.abs(mean(relevant, -1) - mean(others, 1))).toBeLessThan(1e-3);
      }),
      { seed: 1 },
    );
  });

  it('falls as scores rise', () => {
    fc.assert(
      fc.property(scores, scores, fc.double({ min: -10, max: 10, noNaN: true }), (relevant, others, by) => {
        const moved = zeroPoint(
          relevant.map((s) => s + by),
          others.map((s) => s + by),
        );
        expect(Math.abs(moved + by - zeroPoint(relevant, others))).toBeLessThan(1e-2);
      }),
      { seed: 1 },
    );
  });
});

describe('lastBias', () => {
  it('finds that of a head', async () => {
    const { model, weights } = await prepare(tinyEncoder(), { output: 'logits' });
    expect(lastBias(model.graph, 'logits')).toBe(weights.at(-1)!.tensor);
  });

  it('finds none where nothing is added last', () => {
    const g = new GraphBuilder();
    g.initializer('w', float32([4, 1], [1, 2, 3, 4]));
    g.output(g.op('MatMul', [g.input('x', 'float32', ['rows', 4]), 'w']), 'float32', undefined, 'logits');
    expect(lastBias(g.build(), 'logits')).toBeUndefined();
  });
});

describe('a run that starts centered', () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-centered-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function settings(over: Record<string, unknown> = {}) {
    await writeTinyModel(join(folder, 'tiny'));
    tinyData(join(folder, 'lists.jsonl'), 60);
    return tinyRecipe(folder, { ...LEARNING, objective: 'BCE', steps: 3, checkpoint: { every: 1 }, ...over });
  }

  it('moves the last bias alone, to where nothing has to move', async () => {
    const loaded = await settings();
    const read = await loadBackbone(join(folder, 'tiny'), loaded.recipe);
    const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
    const off = new Map([['classifier.bias', Float32Array.of(7)]]);
    const notes: string[] = [];
    const moved = await centered({ ...read, model: withWeights(read.model, off) }, loaded, tokenizer, (note) =>
      notes.push(note),
    );
    expect(Math.abs((await findShift(loaded, { ...moved, tokenizer }))!.by)).toBeLessThan(0.01);
    expect(notes).toEqual([expect.stringMatching(/^score 0 is placed .* moves by -\d+\.\d\d$/)]);
    const changed = moved.weights.filter(
      ({ name, value }) => value !== read.weights.find((w) => w.name === name)!.value,
    );
    expect(changed.map(({ name }) => name)).toEqual(['classifier.bias']);
    expect(moved.model.graph.initializers.get('classifier.bias')).toEqual(changed[0]!.value);
  });

  it('takes other steps than one that does not, and goes on where it was stopped', async () => {
    const losses = async (over: Record<string, unknown>, run: string, stopAt?: number) => {
      const found: number[] = [];
      const stop = new AbortController();
      const onStep = ({ loss, step }: { readonly loss: number; readonly step: number }) => {
        found.push(loss);
        if (step === stopAt) stop.abort();
      };
      await train(await settings(over), join(folder, run), { onStep }, stop.signal);
      return found;
    };
    const whole = await losses({ centered: true }, 'whole');
    expect(whole).not.toEqual(await losses({}, 'plain'));
    const parts = [await losses({ centered: true }, 'parts', 1), await losses({ centered: true }, 'parts')];
    expect(parts.map((part) => part.length)).toEqual([1, 2]);
    expect(parts.flat()).toEqual(whole);
  });

  it('is refused where no bias is added last, and for interaction models', async () => {
    const loaded = await settings({ centered: true });
    const read = await loadBackbone(join(folder, 'tiny'), loaded.recipe);
    const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
    await expect(centered({ ...read, logits: 'none' }, loaded, tokenizer)).rejects.toThrow(
      'recipe centered: expected a last layer with a bias, and lists with relevant and other passages, got no such bias',
    );
    await expect(settings({ centered: true, interaction: {} })).rejects.toThrow(/centered: .*leave centered out/);
  });
});
