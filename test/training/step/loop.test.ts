import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { providerWorks } from '../../../src/inference/providers.ts';
import { type Batch, formBatch } from '../../../src/training/data/batches.ts';
import { parseRecipe, type Recipe } from '../../../src/training/recipe/recipe.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { openSessions } from '../../../src/training/step/sessions.ts';
import { createRandom } from '../../../src/util/random.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { LEARNING, tinyDocument } from '../../support/tiny-recipe.ts';

// A software Vulkan driver, as browsers include: slow, but the same provider and shaders as on a GPU.
const SOFTWARE_VULKAN = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (existsSync(SOFTWARE_VULKAN)) process.env.VK_ICD_FILENAMES ??= SOFTWARE_VULKAN;
const webgpu = await providerWorks('webgpu');

const folder = mkdtempSync(join(tmpdir(), 'winnow-loop-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 200);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const document = (over: Record<string, unknown> = {}) =>
  tinyDocument({
    ...LEARNING,
    steps: 20,
    optimizer: { learningRate: 0.01 },
    dropout: { hidden: 0.1, attention: 0.1, classifier: 0.1 },
    ...over,
  });

const recipe = (over: Record<string, unknown> = {}): Recipe => parseRecipe(document(over), 'test');
// Listwise objectives do not depend on a number added to all scores: the last bias would drift with rounding errors.
const pointwise = (over: Record<string, unknown> = {}): Recipe => recipe({ objective: 'BCE', ...over });

/** Batches of different numbers of rows, lengths and passages. */
function unequalBatches(count: number): Batch[] {
  const random = createRandom(5);
  return Array.from({ length: count }, () =>
    formBatch(
      Array.from({ length: 3 }, () => {
        const passages = 2 + random.below(4);
        const numbers = Array.from({ length: passages }, (_, p) => +(p === 0));
        const rows = numbers.map(() => ({
          ids: Int32Array.from({ length: 3 + random.below(8) }, () => 5 + random.below(40)),
          secondSegment: 2,
          truncated: false,
        }));
        return {
          list: { qid: '', query: '', passages: numbers.map(String), relevance: numbers, teacher: numbers },
          rows,
        };
      }),
    ),
  );
}

interface Taken {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly scores: readonly (readonly number[])[];
}

async function take(settings: Recipe, perRun: number, batches: readonly Batch[]): Promise<Taken> {
  const sessions = await openSessions(await loadBackbone(join(folder, 'tiny'), settings), settings, 0);
  const steps = batches.map((batch, i) => ({
    batches: [batch],
    step: i + 1,
    rates: { backbone: 1e-2, head: 2e-2 },
    extra: (b: Batch, _: number, size?: Parameters<typeof sessions.dropout>[2]) => sessions.dropout(b, i, size),
  }));
  const results = [];
  for (let at = 0; at < steps.length; at += perRun)
    results.push(...(await sessions.stepper.run(steps.slice(at, at + perRun))));
  await sessions.close();
  const real = (scores: Float32Array, { places }: Batch) => Array.from(places, (p) => scores[p]!);
  return {
    losses: results.map((r) => r.loss),
    norms: results.map((r) => r.norm!),
    scores: results.map((r, i) => real(r.scores, batches[i]!)),
  };
}

function expectNear(got: Taken, expected: Taken, tolerance: number): void {
  for (const [i, loss] of expected.losses.entries()) {
    expect(Math.abs(got.losses[i]! - loss), `loss ${i}`).toBeLessThan(tolerance * Math.max(1, loss));
    expect(Math.abs(got.norms[i]! - expected.norms[i]!), `norm ${i}`).toBeLessThan(tolerance * 10);
    for (const [j, score] of expected.scores[i]!.entries())
      expect(Math.abs(got.scores[i]![j]! - score), `score ${i}.${j}`).toBeLessThan(tolerance * 10);
  }
}

describe('several steps a run', () => {
  it('of batches of any shape give losses, norms and scores of single steps, dropout included', async () => {
    const batches = unequalBatches(7);
    const place = { learningRate: 0.01, place: 'graph' };
    const single = await take(pointwise({ optimizer: place }), 1, batches);
    expect(new Set(batches.map((b) => b.rows.length)).size).toBeGreaterThan(1);
    expectNear(await take(pointwise({ stepsPerRun: 3, optimizer: place }), 3, batches), single, 1e-6);
    expectNear(await take(pointwise(), 1, batches), single, 1e-6);
  });

  it('train as single steps do, with runs cut at checkpoints and the end', async () => {
    const losses = async (over: Record<string, unknown>, run: string) => {
      const found: number[] = [];
      const loaded = { recipe: recipe({ checkpoint: { every: 7 }, ...over }), folder, source: '' };
      await train(loaded, join(folder, run), { onStep: (s) => found.push(s.loss) });
      return found;
    };
    const single = await losses({ optimizer: { learningRate: 0.01, place: 'graph' } }, 'single');
    const several = await losses({ stepsPerRun: 4 }, 'several');
    expect(several).toHaveLength(single.length);
    for (const [i, loss] of single.entries())
      expect(Math.abs(several[i]! - loss)).toBeLessThan(1e-6 * Math.max(1, loss));
  });

  it.skipIf(!webgpu)('do the same on the WebGPU provider (needs a Vulkan driver, in software at least)', async () => {
    const batches = unequalBatches(4);
    const single = await take(pointwise(), 1, batches);
    const settings = pointwise({ provider: 'webgpu', stepsPerRun: 2 });
    expectNear(await take(settings, 2, batches), single, 1e-4);
  });

  it.each([
    [{ stepsPerRun: 4, ema: 0.9 }, /set ema to 0 or stepsPerRun to 1/],
    [{ stepsPerRun: 4, batch: { accumulate: 2 } }, /set batch.accumulate or stepsPerRun to 1/],
    [{ stepsPerRun: 4, optimizer: { place: 'host' } }, /set optimizer.place to graph/],
    [{ precision: 'fp16' }, /precision: .*set provider to cuda or webgpu, or precision to fp32/],
    [{ precision: 'bf16', provider: 'webgpu' }, /only provider cuda has bf16/],
  ])('%j is refused with the cure', (over, message) => {
    expect(() => recipe(over)).toThrow(message);
  });
});
