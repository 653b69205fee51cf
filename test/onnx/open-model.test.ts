import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSession } from '../../src/inference/providers.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { probeFeeds } from '../../src/onnx/probe.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { numbers } from '../../src/onnx/tensor.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { quantize } from '../../src/training/quantization/quantize.ts';
import { openRowScorer } from '../../src/training/step/row-scorer.ts';
import { createRandom } from '../../src/util/random.ts';
import { WORDS, writeTinyModel } from '../support/tiny-model.ts';

/*
 * With the real limit only models of gigabytes would be written to files. `npm run bench:models -- --models qwen3-0.6b` quantizes one.
 */

const state = vi.hoisted(() => ({ limit: 1000, opened: [] as string[][], free: Number.POSITIVE_INFINITY }));

vi.mock('../../src/onnx/model-file.ts', async (original) => ({
  ...(await original<object>()),
  get INSIDE_LIMIT() {
    return state.limit;
  },
}));

vi.mock('../../src/onnx/engine.ts', async (original) => {
  const engine = await original<typeof import('../../src/onnx/engine.ts')>();
  const create = async (model: string | Uint8Array, options: object) => {
    state.opened.push(typeof model === 'string' ? readdirSync(join(model, '..')).toSorted() : ['bytes']);
    return typeof model === 'string'
      ? engine.InferenceSession.create(model, options)
      : engine.InferenceSession.create(model, options);
  };
  return { ...engine, InferenceSession: { create } };
});

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const statfs = async (path: string) =>
    state.free === Number.POSITIVE_INFINITY ? fs.statfs(path) : { bavail: state.free, bsize: 1 };
  return { ...fs, statfs };
});

const root = mkdtempSync(join(tmpdir(), 'winnow-open-'));
const folder = join(root, 'tiny');
const before = process.env.TMPDIR;

beforeAll(async () => {
  await writeTinyModel(folder);
  process.env.TMPDIR = mkdtempSync(join(root, 'tmp-'));
});
beforeEach(() => Object.assign(state, { limit: 1000, opened: [], free: Number.POSITIVE_INFINITY }));
afterAll(() => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  rmSync(root, { recursive: true, force: true });
});

const tiny = () => readModel(join(folder, 'onnx/model.onnx'));
const FILES = ['model.onnx', 'model.onnx.data'];

describe('a model with more weights than a file can hold inside', () => {
  it('is opened from files that are gone once it is open, with the same scores', async () => {
    const model = await tiny();
    const feeds = probeFeeds(model.graph.inputs);
    const scores: number[][] = [];
    for (const limit of [1000, 1e9]) {
      state.limit = limit;
      const runner = await openRunner(model);
      expect(readdirSync(process.env.TMPDIR!)).toEqual([]);
      scores.push(numbers((await runner.run(feeds)).logits!));
      await runner.close();
    }
    expect(state.opened).toEqual([FILES, ['bytes']]);
    expect(scores[0]).toEqual(scores[1]);
  });

  it('is opened so by whatever scores rows or trains', async () => {
    const model = await tiny();
    await (await createSession(model, { threads: 1 })).release();
    const tokenizer = await createLocalTokenizer(folder);
    const scorer = await openRowScorer(model, { padId: tokenizer.padId }, { threads: 1 });
    await scorer.close();
    await tokenizer.close();
    expect(state.opened).toEqual([FILES, FILES]);
  });

  it('is quantized, with the same result, also where layers are tried one by one', async () => {
    const model = await tiny();
    const random = createRandom(1);
    const some = (count: number) =>
      Array.from({ length: count }, () => {
        const ids = Int32Array.from({ length: 4 + random.below(9) }, () => 1 + random.below(WORDS.length));
        return { ids, secondSegment: 2, truncated: false };
      });
    const options = { padId: 0, calibration: some(32), check: some(32), keepShare: 1 };
    const large = await quantize(model, 'logits', options);
    state.limit = 1e9;
    const usual = await quantize(model, 'logits', options);
    expect({ ...large.parity, speed: 0 }).toEqual({ ...usual.parity, speed: 0 });
    expect(usual.layers.some(({ noise }) => noise !== undefined)).toBe(true);
    expect(large.layers).toEqual(usual.layers);
    expect(readdirSync(process.env.TMPDIR!)).toEqual([]);
  });

  it('is refused where the disk has no room, with the sizes and the folder', async () => {
    state.free = 17;
    await expect(openRunner(await tiny())).rejects.toThrow(/room for the weights.*TMPDIR.*about 1 MiB, got 1 MiB/);
    expect(readdirSync(process.env.TMPDIR!)).toEqual([]);
  });

  it('leaves nothing where the engine refuses the graph', async () => {
    const model = await tiny();
    const [first, ...others] = model.graph.nodes;
    const bad = { ...model, graph: { ...model.graph, nodes: [{ ...first!, op: 'NoSuchOp' }, ...others] } };
    await expect(openRunner(bad)).rejects.toThrow(/NoSuchOp/);
    expect(state.opened).toEqual([FILES]);
    expect(readdirSync(process.env.TMPDIR!)).toEqual([]);
    expect(existsSync(process.env.TMPDIR!)).toBe(true);
  });
});
