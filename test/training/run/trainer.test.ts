import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModel, writeModel } from '../../../src/onnx/model-file.ts';
import { float32, numbers } from '../../../src/onnx/tensor.ts';
import { PAPER_OBJECTIVES } from '../../../src/training/objectives/catalog.ts';
import { publishRun } from '../../../src/training/publish/publish.ts';
import { withZeroPoint } from '../../../src/training/publish/published-zero.ts';
import type { LoadedRecipe } from '../../../src/training/recipe/recipe.ts';
import type { TrainingObserver } from '../../../src/training/run/run-state.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { LEARNING, tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-train-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 300);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe = (over: Record<string, unknown> = {}): LoadedRecipe =>
  tinyRecipe(folder, {
    ...LEARNING,
    steps: 60,
    optimizer: { learningRate: 0.01 },
    dropout: { hidden: 0.1, attention: 0.1, classifier: 0.1 },
    checkpoint: { every: 7 },
    ...over,
  });

/** Trains and returns the losses of all steps. */
async function losses(
  loaded: LoadedRecipe,
  run: string,
  observer: TrainingObserver = {},
  signal?: AbortSignal,
): Promise<number[]> {
  const found: number[] = [];
  await train(
    loaded,
    join(folder, run),
    {
      ...observer,
      onStep(s) {
        found.push(s.loss);
        observer.onStep?.(s);
      },
    },
    signal,
  );
  return found;
}

const mean = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;

describe('train', () => {
  it.each(PAPER_OBJECTIVES)('%s: the loss falls', async (objective) => {
    const found = await losses(
      recipe({ objective, steps: 200, optimizer: { learningRate: 0.03 }, dropout: 'off' }),
      `falls-${objective}`,
    );
    expect(mean(found.slice(-15))).toBeLessThan(0.9 * mean(found.slice(0, 15)));
  });

  it('repeats bit by bit; with accumulation of the same lists nearly so', async () => {
    const first = await losses(recipe({ steps: 12 }), 'repeat-1');
    expect(await losses(recipe({ steps: 12 }), 'repeat-2')).toEqual(first);
    const split = await losses(
      recipe({ steps: 12, batch: { queries: 2, accumulate: 2, bucketBatches: 1 } }),
      'repeat-3',
    );
    expect(mean(split)).toBeCloseTo(mean(first), 0);
  });

  it('continues from a checkpoint with the same bits, wherever it stopped', async () => {
    const whole = await losses(recipe({ ema: 0.9 }), 'whole');
    for (const stopAt of [1, 7, 23, 59]) {
      const stop = new AbortController();
      const before = await losses(
        recipe({ ema: 0.9 }),
        `stop-${stopAt}`,
        { onStep: (s) => s.step === stopAt && stop.abort() },
        stop.signal,
      );
      const after = await losses(recipe({ ema: 0.9 }), `stop-${stopAt}`);
      expect([...before, ...after]).toEqual(whole);
    }
  });

  it('refuses a checkpoint of other data or settings', async () => {
    await losses(recipe({ steps: 7 }), 'other');
    await expect(losses(recipe({ steps: 7, seed: 9 }), 'other')).rejects.toThrow(
      /expected a checkpoint of this recipe/,
    );
  });

  it('measures an untrained model once for all runs that start from it', async () => {
    const dev = Array.from({ length: 3 }, (_, qid) => {
      const hits = Array.from({ length: 4 }, (_, i) => ({
        qid,
        docid: `d${qid}-${i}`,
        content: `w${qid} w${i}`,
        rank: i + 1,
        score: -i,
      }));
      return { query: `w${qid}`, hits };
    });
    writeFileSync(join(folder, 'dev.json'), JSON.stringify(dev));
    writeFileSync(join(folder, 'dev.qrels'), dev.map((_, qid) => `${qid} 0 d${qid}-${qid + 1} 1\n`).join(''));
    const validation = { data: { format: 'rank-llm', path: 'dev.json', qrels: 'dev.qrels' }, every: 4 };
    const baseOf = async (run: string, over = {}) => {
      let base: number | undefined;
      const onStart: TrainingObserver['onStart'] = (facts) => {
        base = facts.validation?.base;
      };
      await train(
        recipe({ steps: 4, validation, ...over }),
        join(folder, run),
        { onStart },
        undefined,
        join(folder, 'bases'),
      );
      return base;
    };
    const first = await baseOf('base-1');
    const [file, ...others] = readdirSync(join(folder, 'bases'));
    expect(others).toEqual([]);
    // The next run takes the value of the file, so nothing is measured again.
    writeFileSync(join(folder, 'bases', file!), JSON.stringify({ measure: 'nDCG@10', value: 0.125 }));
    expect(await baseOf('base-2', { objective: 'MarginMSE' })).toBe(0.125);
    // Another depth is another measurement.
    expect(await baseOf('base-3', { validation: { ...validation, depth: 2 } })).not.toBe(0.125);
    expect(readdirSync(join(folder, 'bases'))).toHaveLength(2);
    expect(first).toBeGreaterThan(0);
  });

  it('stops at NaN or infinity', async () => {
    await expect(
      losses(
        recipe({ optimizer: { learningRate: 1e30, clipNorm: 1e30 }, schedule: { name: 'constant', warmup: 0 } }),
        'nan',
      ),
    ).rejects.toThrow(/training stopped at step \d+.*NaN or infinite/);
  });

  it('stops when the loss stays at that of equal scores', async () => {
    const stuck = recipe({
      optimizer: { learningRate: 1e-12 },
      guards: { window: 5, stuckTolerance: 0.5, collapseStd: 0 },
    });
    await expect(losses(stuck, 'stuck')).rejects.toThrow(/what equal scores give for 5 steps/);
  });

  it('publishes a version that the registry admits', async () => {
    const loaded = recipe({ steps: 20, publish: { registry: 'registry', label: 'stable' } });
    const outcome = await train(loaded, join(folder, 'published'));
    const published = await publishRun(loaded, outcome);
    expect(published).toMatchObject({ name: 'tiny', version: '1' });
    const manifest = JSON.parse(readFileSync(join(published.folder, 'model.json'), 'utf8')) as {
      objective: string;
      selfTest: { pairs: unknown[] };
      training: { data: unknown[] };
    };
    expect(manifest).toMatchObject({ objective: 'InfoNCE', activation: 'sigmoid', training: { steps: 20 } });
    expect(manifest.selfTest.pairs.length).toBeGreaterThan(1);
    expect(readFileSync(join(folder, 'registry', 'tiny', 'labels.json'), 'utf8')).toContain('"1"');
    expect(readFileSync(join(published.folder, 'curve.svg'), 'utf8')).toMatch(/^<svg/);
  });

  it('publishes the float32 file, and says why, where int8 would cost too much accuracy', async () => {
    await writeTinyModel(join(folder, 'steep'));
    const file = join(folder, 'steep', 'onnx', 'model.onnx');
    const model = await readModel(file);
    const initializers = new Map(model.graph.initializers);
    // The states of [CLS] and [SEP] are so large that nothing is left of the other tokens' in 8 bits.
    const name = 'word_embeddings.weight';
    const words = initializers.get(name)!;
    const special = 4 * words.dims[1]!;
    initializers.set(
      name,
      float32(
        words.dims,
        numbers(words).map((x, i) => (i < special ? 100 * x : x)),
      ),
    );
    await writeModel(file, { ...model, graph: { ...model.graph, initializers } });
    const publish = { registry: 'steep-registry', int8: true, fp32: false };
    const loaded = recipe({ backbone: 'steep', steps: 1, optimizer: { learningRate: 1e-6 }, publish });
    const published = await publishRun(loaded, await train(loaded, join(folder, 'steep-run')));
    expect(published.refused).toMatchObject([
      { variant: 'int8', reason: expect.stringMatching(/within 0.25 of their spread/) },
    ]);
    const read = (name: string) => readFileSync(join(published.folder, name), 'utf8');
    expect(read('README.md')).toMatch(/No int8 file: it would cost too much accuracy \(expected scores within 0.25/);
    expect(JSON.parse(read('model.json')).training.quantization.int8.refused).toMatch(/0.25/);
    expect(readdirSync(join(published.folder, 'onnx'))).toEqual(['model.onnx']);
  });

  it('publishes scores whose 0 lies between relevant and other passages, where the objective does not determine it', async () => {
    for (const objective of ['InfoNCE', 'BCE']) {
      const loaded = recipe({ objective, steps: 30, publish: { registry: 'zero' }, dropout: 'off' });
      const trained = await train(loaded, join(folder, `zero-${objective}`));
      const moved = await withZeroPoint(loaded, trained);
      if (objective === 'BCE') {
        expect(moved).toBe(trained);
        continue;
      }
      const changed = [...moved.weights].filter(([name, value]) => trained.weights.get(name)?.[0] !== value[0]);
      expect(changed.map(([name, value]) => [name, value.length])).toEqual([['classifier.bias', 1]]);
      // A second search finds the same 0.
      const again = await withZeroPoint(loaded, moved);
      const bias = (o: typeof trained) => o.weights.get('classifier.bias')![0]!;
      expect(Math.abs(bias(again) - bias(moved))).toBeLessThan(1e-3);
    }
  });

  it('lists the training files of its backbone; serves other lengths than it was trained with', async () => {
    tinyData(join(folder, 'more.jsonl'), 40);
    const first = recipe({ name: 'first', steps: 2, publish: { registry: 'handed' } });
    await publishRun(first, await train(first, join(folder, 'handed-first')));
    const second = recipe({
      name: 'second',
      backbone: 'handed/first/1',
      data: {
        train: [{ format: 'jsonl', path: 'more.jsonl', madeFrom: ['tiny/tokenizer.json'] }],
        sampler: { negatives: 5 },
      },
      steps: 2,
      publish: { registry: 'handed', maxLength: 24 },
    });
    const { folder: version } = await publishRun(second, await train(second, join(folder, 'handed-second')));
    const manifest = JSON.parse(readFileSync(join(version, 'model.json'), 'utf8')) as {
      backbone: string;
      maxLength: number;
      training: { data: { file: string }[] };
    };
    expect(manifest).toMatchObject({ backbone: 'first@1', maxLength: 24 });
    expect(manifest.training.data.map(({ file }) => file)).toEqual(['more.jsonl', 'tokenizer.json', 'lists.jsonl']);
    const lost = recipe({ data: { train: [{ format: 'jsonl', path: 'more.jsonl', madeFrom: ['gone.json'] }] } });
    await expect(train(lost, join(folder, 'handed-lost'))).rejects.toThrow('expected a file, got gone.json');
  });
});

describe('killed with -9', () => {
  const file = () => join(folder, 'killed.yaml');
  const start = (run: string): ChildProcess =>
    spawn(
      process.execPath,
      [join(import.meta.dirname, '..', '..', '..', 'bin', 'winnow.mjs'), 'train', file(), '--run', join(folder, run)],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  const curve = (run: string): number[] =>
    readFileSync(join(folder, run, 'curve.jsonl'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { loss: number }).loss);

  it('at any instant, the losses end up bit-equal to the uninterrupted run', async () => {
    const { recipe: settings } = recipe({ steps: 40, checkpoint: { every: 3 } });
    writeFileSync(file(), JSON.stringify(settings));
    const whole = start('unkilled');
    expect((await once(whole, 'exit'))[0]).toBe(0);
    for (let round = 0; round < 3; round++) {
      const child = start('killed');
      // Killed when a checkpoint of this round appears, in the middle of steps and writes.
      await new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        const before = saved('killed').join();
        const look = setInterval(() => {
          if (saved('killed').join() === before) return;
          clearInterval(look);
          child.kill('SIGKILL');
        }, 1);
        child.once('exit', () => clearInterval(look));
      });
    }
    const last = start('killed');
    expect((await once(last, 'exit'))[0]).toBe(0);
    expect(curve('killed')).toEqual(curve('unkilled'));
  });

  const saved = (run: string): string[] => {
    try {
      return readdirSync(join(folder, run, 'checkpoints')).filter((f) => f.startsWith('checkpoint-'));
    } catch {
      return [];
    }
  };
});
