import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder, MICROSOFT, modelOf } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { MaskChannels, maskChannels, paddingBiases } from '../../src/onnx/rewrites/int8-mask.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';

const UNIT = 0.001;
const [BATCH, HEADS, LENGTH, SIZE] = [2, 2, 3, 4];
const QUERIES = BATCH * HEADS * LENGTH * SIZE;

/** Integer products of queries around 64 and keys, as `plain` and with channels as `masked`. */
function products(count: number): Model {
  const g = new GraphBuilder('scores');
  g.input('attention_mask', 'int64', ['batch', 'length']);
  const q = g.input('q', 'uint8', ['batch', HEADS, 'length', SIZE]);
  const k = g.input('k', 'int8', ['batch', HEADS, SIZE, 'length']);
  const [unit, one, zero] = [g.scalar(UNIT), g.scalar(1), g.constant(tensor('uint8', [], [64]))];
  const product = (left: string, right: string) =>
    g.op('MatMulIntegerToFloat', [left, right, unit, one, zero], {}, { domain: MICROSOFT });
  const channels = new MaskChannels(g);
  g.output(product(q, k), 'float32', ['batch', HEADS, 'length', 'length'], 'plain');
  const masked = product(channels.query(q, count, 64, 'q'), channels.key(k, count, HEADS));
  g.output(masked, 'float32', ['batch', HEADS, 'length', 'length'], 'masked');
  const turned = channels.turnedQuery(g.transpose(q, [0, 1, 3, 2]), count, 64, 'q');
  const back = product(g.transpose(turned, [0, 1, 3, 2]), channels.key(k, count, HEADS));
  g.output(back, 'float32', ['batch', HEADS, 'length', 'length'], 'turned');
  return modelOf(g.build());
}

describe('MaskChannels', () => {
  it('lowers the scores of padding by the same number and leaves those of text as they are', async () => {
    const bytes = (min: number, max: number) =>
      fc.array(fc.integer({ min, max }), { minLength: QUERIES, maxLength: QUERIES });
    const model = products(8);
    await fc.assert(
      fc.asyncProperty(
        bytes(0, 127),
        bytes(-127, 127),
        fc.array(fc.nat(1), { minLength: 6, maxLength: 6 }),
        async (q, k, mask) => {
          const { plain, masked, turned } = await runOnce(model, {
            attention_mask: tensor('int64', [BATCH, LENGTH], mask),
            q: tensor('uint8', [BATCH, HEADS, LENGTH, SIZE], q),
            k: tensor('int8', [BATCH, HEADS, SIZE, LENGTH], k),
          });
          const before = numbers(plain!);
          expect(numbers(turned!)).toEqual(numbers(masked!));
          numbers(masked!).forEach((score, i) => {
            const row = Math.floor(i / (HEADS * LENGTH * LENGTH));
            const isText = mask[row * LENGTH + (i % LENGTH)] === 1;
            expect(score).toBeCloseTo(before[i]! - (isText ? 0 : UNIT * 4 * 191 * 127), 3);
          });
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe('maskChannels', () => {
  it('takes as few as hold padding below text, and none where sixteen do not', () => {
    // Two channels lower a score by 191 · 127 · .002 = 48.5.
    expect(maskChannels(0.002, 53)).toBe(4);
    expect(maskChannels(0.002, 54)).toBe(8);
    expect(maskChannels(0.002, 130)).toBe(12);
    expect(maskChannels(0.002, 250)).toBeUndefined();
    expect(maskChannels(0, 0)).toBeUndefined();
  });
});

describe('paddingBiases', () => {
  it('finds the values that lower padding alone, whatever their size', async () => {
    const g = new GraphBuilder('biases');
    const mask = g.input('attention_mask', 'int64', ['batch', 'length']);
    const ids = g.input('input_ids', 'int64', ['batch', 'length']);
    const open = g.cast(g.unsqueeze(mask, [1, 2]), 'float32');
    const scores = g.cast(g.unsqueeze(ids, [1, 2]), 'float32');
    const padding = g.sub(open, g.scalar(1));
    const low = g.mul(padding, g.scalar(10_000));
    const sums = [low, g.mul(padding, g.scalar(2)), g.mul(g.add(padding, scores), g.scalar(10_000))];
    for (const sum of sums) g.output(g.add(scores, sum), 'float32', ['batch', 1, 1, 'length']);
    const model = modelOf(g.build());
    expect([...(await paddingBiases(model, await probeShapes(model)))]).toEqual([low]);
  });

  /** A mask of every query, and how far a query sees. */
  const expanded = (window: number): { model: Model; low: string } => {
    const g = new GraphBuilder('expanded');
    const mask = g.input('attention_mask', 'int64', ['batch', 'length']);
    const ids = g.input('input_ids', 'int64', ['batch', 'length']);
    const states = g.cast(g.unsqueeze(ids, [1, 3]), 'float32');
    const length = g.slice(g.shape(states), [2], [3], [0]);
    const ends = [g.scalar(0, 'int64'), g.squeeze(length, [0]), g.scalar(1, 'int64')];
    const places = g.op('Range', ends);
    const apart = g.op('Abs', [g.sub(g.unsqueeze(places, [1]), g.unsqueeze(places, [0]))]);
    const near = g.less(apart, g.scalar(window, 'int64'));
    const text = g.op('And', [g.cast(g.unsqueeze(mask, [1, 2]), 'bool'), near]);
    const low = g.where(text, g.scalar(0), g.scalar(-3e38));
    g.output(g.add(g.mul(states, g.cast(g.unsqueeze(mask, [1, 2]), 'float32')), low), 'float32');
    return { model: modelOf(g.build()), low };
  };

  it('finds a mask that is written out for every query, and none that depends on the query in long rows', async () => {
    const all = expanded(1e6);
    expect([...(await paddingBiases(all.model, await probeShapes(all.model)))]).toEqual([all.low]);
    const local = expanded(64);
    expect([...(await paddingBiases(local.model, await probeShapes(local.model)))]).toEqual([]);
  });
});
