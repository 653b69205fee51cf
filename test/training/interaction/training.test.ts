import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { interactionModels } from '../../../src/onnx/interaction/write-interaction.ts';
import { readModel } from '../../../src/onnx/model-file.ts';
import { readSafetensors } from '../../../src/onnx/safetensors.ts';
import { readManifest } from '../../../src/registry/manifest.ts';
import { openInteraction, prefixesOf } from '../../../src/training/interaction/encoder.ts';
import { openPassageStates } from '../../../src/training/interaction/passage-states.ts';
import { recipeTokenizer } from '../../../src/training/interaction/tokenizer.ts';
import { PAPER_OBJECTIVES } from '../../../src/training/objectives/catalog.ts';
import { publishRun } from '../../../src/training/publish/publish.ts';
import type { LoadedRecipe } from '../../../src/training/recipe/recipe.ts';
import type { TrainingObserver } from '../../../src/training/run/run-state.ts';
import { type TrainingOutcome, train } from '../../../src/training/run/trainer.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { openSessions } from '../../../src/training/step/sessions.ts';
import { tinyData } from '../../support/tiny-model.ts';
import { LEARNING, tinyRecipe } from '../../support/tiny-recipe.ts';
import { writeTinySentenceEncoder } from '../../support/tiny-sentence-encoder.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-interaction-'));
beforeAll(async () => {
  await writeTinySentenceEncoder(join(folder, 'encoder'));
  tinyData(join(folder, 'lists.jsonl'), 60);
  tinyData(join(folder, 'few.jsonl'), 4, 3);
  tinyData(join(folder, 'held-out.jsonl'), 12, 7);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe = (interaction: object = {}, over: Record<string, unknown> = {}): LoadedRecipe =>
  tinyRecipe(folder, {
    ...LEARNING,
    backbone: 'encoder',
    interaction: { top: 2, ...interaction },
    steps: 20,
    maxLength: 24,
    optimizer: { learningRate: 0.003, headLearningRate: 0.01 },
    checkpoint: { every: 7 },
    ...over,
  });

interface Found {
  readonly losses: readonly number[];
  readonly notes: readonly string[];
  readonly outcome: TrainingOutcome;
}

async function run(
  loaded: LoadedRecipe,
  name: string,
  observer: TrainingObserver = {},
  signal?: AbortSignal,
): Promise<Found> {
  const losses: number[] = [];
  const notes: string[] = [];
  const outcome = await train(
    loaded,
    join(folder, 'runs', name),
    {
      ...observer,
      onNote: (note) => void notes.push(note),
      onStep(step) {
        losses.push(step.loss);
        observer.onStep?.(step);
      },
    },
    signal,
  );
  return { losses, notes, outcome };
}

const mean = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;

/** Scores pairs with untrained weights, and returns the cosines of their vectors. */
async function untrained(loaded: LoadedRecipe) {
  const { recipe: settings } = loaded;
  const encoder = join(folder, 'encoder');
  const backbone = await loadBackbone(encoder, settings);
  const tokenizer = await recipeTokenizer(encoder, settings);
  const passages = join(folder, 'kept');
  const sessions = await openSessions(backbone, settings, tokenizer.padId, { passages });
  try {
    const options = {
      maxLength: 24,
      truncation: 'only_second',
      side: 'right',
      longPassages: 'truncate',
      windowOverlap: 0,
    } as const;
    const texts = ['waa wba', 'wca', 'wda wea wfa wga', 'waa'];
    const rows = [];
    for (const query of ['waq', 'wbq wcq']) rows.push(...(await tokenizer.encode(query, texts, options)).rows);
    const scores = await sessions.score(rows);
    // The encoder of passages gives the vector of any text.
    const states = await openPassageStates(await openInteraction(encoder, settings.interaction!, 1), passages, 0, {});
    const vectors = async (ids: readonly Int32Array[]) => (await states.feeds(ids)).vector!.data as Float32Array;
    const [queries, others] = [
      await vectors(rows.map(({ ids, secondSegment }) => ids.slice(0, secondSegment))),
      await vectors(rows.map(({ ids, secondSegment }) => ids.slice(secondSegment))),
    ];
    const cosines = rows.map((_, r) => {
      let sum = 0;
      for (let h = 0; h < 16; h++) sum += queries[16 * r + h]! * others[16 * r + h]!;
      return sum;
    });
    await states.close();
    return { scores: Array.from(scores), cosines };
  } finally {
    await sessions.close();
    await tokenizer.close();
  }
}

const order = (x: readonly number[]): number[] => [...x.keys()].sort((a, b) => x[b]! - x[a]!);

describe('interaction models in training', () => {
  it.each(['int8', 'float16'])('form cosine starts as the cosine, with states as %s', async (kept) => {
    const { scores, cosines } = await untrained(recipe({ kept, scale: 7 }));
    expect(new Set(scores.map((x) => x.toFixed(4))).size).toBe(scores.length);
    for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(7 * cosines[i]!, 4);
    expect(order(scores.slice(0, 4))).toEqual(order(cosines.slice(0, 4)));
    expect(order(scores.slice(4))).toEqual(order(cosines.slice(4)));
  });

  it.each(PAPER_OBJECTIVES)('%s: the loss falls', async (objective) => {
    const { losses } = await run(
      recipe({}, { objective, steps: 24, optimizer: { learningRate: 0.003, headLearningRate: 0.02 } }),
      `falls-${objective}`,
    );
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(mean(losses.slice(-8))).toBeLessThan(0.97 * mean(losses.slice(0, 8)));
  });

  it.each([
    { form: 'first', bottom: 1 },
    { form: 'first', train: 'top' },
    { train: 'top', states: 2 },
    { kept: 'float16' },
  ])('%j: the loss falls', async (interaction) => {
    // Few lists: the published form has much to learn from random weights.
    const data = { ...LEARNING.data, train: [{ format: 'jsonl', path: 'few.jsonl' }] };
    const optimizer = { learningRate: 0.005, headLearningRate: 0.01 };
    const { losses } = await run(
      recipe(interaction, { steps: 50, optimizer, data }),
      `falls-${JSON.stringify(interaction).replace(/\W+/g, '-')}`,
    );
    expect(mean(losses.slice(-8))).toBeLessThan(0.97 * mean(losses.slice(0, 8)));
  });

  it('moves only what `train` says', async () => {
    const names = async (train: string) => {
      const { outcome } = await run(recipe({ train }, { steps: 2 }), `moves-${train}`);
      return [...outcome.weights.keys()];
    };
    const interaction = await names('interaction');
    expect(interaction.every((name) => /^interaction\.(\d\.(cross|gate)|head|scale)/.test(name))).toBe(true);
    const top = await names('top');
    expect(
      top.filter((name) => !interaction.includes(name)).every((name) => /^interaction\.\d\.layer\./.test(name)),
    ).toBe(true);
    expect(top.length).toBeGreaterThan(interaction.length + 20);
  });

  it('continues with the same bits, also where kept states were damaged or lost', async () => {
    const whole = await run(recipe(), 'whole');
    const stop = new AbortController();
    const before = await run(recipe(), 'stopped', { onStep: ({ step }) => step === 9 && stop.abort() }, stop.signal);
    const own = join(folder, 'runs', 'passages');
    for (const key of readdirSync(own))
      for (const [i, name] of readdirSync(join(own, key)).entries()) {
        const file = join(own, key, name);
        const bytes = readFileSync(file);
        // Flipped bits in one, a record cut off in the others.
        if (i === 0) bytes[bytes.length - 20]! ^= 1;
        writeFileSync(file, i === 0 ? bytes : bytes.subarray(0, bytes.length - 7));
      }
    const after = await run(recipe(), 'stopped');
    expect([...before.losses, ...after.losses]).toEqual(whole.losses);
  });

  it('reads each passage once for all runs of an encoder', async () => {
    const passages = 'shared-passages';
    const first = await run(recipe({ passages }, { steps: 6 }), 'shared-1');
    expect(first.notes.at(-1)).toMatch(/shared-passages.*: 0 were there, \d+ were computed \(\S+ kB each\)$/);
    const second = await run(recipe({ passages }, { steps: 6 }), 'shared-2');
    expect(second.notes.at(-1)).toMatch(/: \d+ were there, 0 were computed$/);
    expect(second.losses).toEqual(first.losses);
  });

  it('measures and keeps the mean of start and end with `average`', async () => {
    const validation = { data: { format: 'jsonl', path: 'held-out.jsonl' }, every: 10, leaks: 'allow' };
    const values = async (average: number) => {
      const found: number[] = [];
      const { outcome } = await run(recipe({}, { validation, average }), `average-${average}`, {
        onValidation: ({ value }) => void found.push(value),
      });
      return { found, outcome };
    };
    const [none, half, all] = [await values(0), await values(0.5), await values(1)];
    expect(all.found).toEqual(all.found.map(() => all.outcome.validation!.base));
    const gate = 'interaction.0.gate';
    const moved = (of: typeof none) => Math.max(...of.outcome.weights.get(gate)!.map(Math.abs));
    expect(moved(all)).toBe(0);
    if (half.outcome.step === none.outcome.step) expect(moved(half)).toBeCloseTo(moved(none) / 2, 6);
    expect(half.found).toHaveLength(2);
  });

  it.each([
    {},
    { train: 'top' },
    { form: 'first', bottom: 1, top: 1, train: 'top' },
    { form: 'first', kept: 'float16' },
  ])('publishes %j: weights, both graphs and the scores of the trained model', async (interaction) => {
    const name = `published-${JSON.stringify(interaction).replace(/\W+/g, '-')}`;
    const loaded = recipe(
      { queryPrefix: 'waq ', ...interaction },
      { steps: 3, publish: { registry: 'registry', name } },
    );
    const { outcome } = await run(loaded, name);
    const published = await publishRun(loaded, outcome);
    const manifest = await readManifest(published.folder);
    expect(manifest).toMatchObject({ kind: 'interaction', queryPrefix: 'waq ', passagePrefix: '', activation: 'none' });
    expect(manifest.selfTest!.pairs).toHaveLength(4);
    expect(Object.keys(manifest.files!).toSorted()).toEqual(
      expect.arrayContaining(['config.json', 'onnx/passage.onnx', 'onnx/top.onnx', 'tokenizer.json']),
    );
    // The published weights make the same graphs again.
    const { tensors } = await readSafetensors(join(published.folder, 'model.safetensors'));
    const hasCopies = [...tensors.keys()].some((tensor) => tensor.startsWith('interaction.0.layer.'));
    expect(hasCopies).toBe('train' in interaction);
    expect(tensors.has('encoder.layer.2.output.dense.weight')).toBe(!('bottom' in interaction));
    const { top } = await interactionModels(published.folder, loaded.recipe.interaction?.kept);
    const file = await readModel(join(published.folder, 'onnx', 'top.onnx'));
    expect([...top.graph.initializers.keys()]).toEqual([...file.graph.initializers.keys()]);
  });

  it('refuses what does not go with it, by field', async () => {
    expect(() => recipe({}, { lora: { rank: 2 } })).toThrow(/lora.*leave lora out/s);
    expect(() => recipe({}, { dropout: 'config' })).toThrow(/dropout.*set dropout to off/s);
    expect(() => recipe({}, { head: { pooling: 'mean' } })).toThrow(/head/);
    expect(() => recipe({}, { average: 0.5, ema: 0.9 })).toThrow(/average/);
    await expect(run(recipe({ top: 4 }), 'too-many')).rejects.toThrow(/interaction: top/);
    await expect(run(recipe({ states: 4 }), 'too-high')).rejects.toThrow(/interaction: states/);
    expect(await prefixesOf(join(folder, 'encoder'), recipe({ queryPrefix: 'q: ' }).recipe.interaction!)).toEqual({
      queryPrefix: 'q: ',
      passagePrefix: '',
    });
  });
});
