import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromSafetensors } from '../../../src/onnx/architectures/architectures.ts';
import { GraphBuilder, MICROSOFT, modelOf } from '../../../src/onnx/builder.ts';
import type { Model } from '../../../src/onnx/graph.ts';
import { probeShapes } from '../../../src/onnx/probe.ts';
import { foldBiases, foldInt8 } from '../../../src/onnx/rewrites/int8-fold.ts';
import { findScoreProducts } from '../../../src/onnx/rewrites/int8-scores.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../../src/onnx/tensor.ts';
import type { EncodedRow } from '../../../src/tokenization/tokenization-types.ts';
import { chooseGroup } from '../../../src/training/quantization/group-search.ts';
import { quantize } from '../../../src/training/quantization/quantize.ts';
import { createRandom } from '../../../src/util/random.ts';
import {
  type Config,
  MODERNBERT,
  MPNET,
  modernbertWeights,
  mpnetShapes,
  randomWeights,
  scoreRows,
  type Weights,
  writeCheckpoint,
} from '../../support/tiny-checkpoint.ts';

const folder = await mkdtemp(join(tmpdir(), 'winnow-refine-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const random = createRandom(3);
/** Rows of 3 to 20 tokens, none of which is a padding id. */
const rows: EncodedRow[] = Array.from({ length: 60 }, () => {
  const ids = Int32Array.from({ length: 3 + random.below(18) }, () => 2 + random.below(22));
  return { ids, secondSegment: 2, truncated: false };
});

const ops = ({ graph }: Model, op: string) => graph.nodes.filter((n) => n.op === op);

const options = (padId: number) => ({
  padId,
  calibration: rows.slice(0, 30),
  check: rows.slice(30),
  bounds: { relativeRms: 9, batchDrift: 1 },
});

/** Products of queries and keys in 8 bits. */
const ofScores = (model: Model) =>
  ops(model, 'MatMulIntegerToFloat').filter((n) => !model.graph.initializers.has(n.inputs[1]!));

const FAMILIES: readonly (readonly [string, Config, () => Weights, number])[] = [
  ['mpnet', MPNET, () => randomWeights(mpnetShapes()), 1],
  ['modernbert', { ...MODERNBERT, classifier_pooling: 'cls' }, modernbertWeights, Number(MODERNBERT.pad_token_id)],
];

describe.each(FAMILIES)('an int8 file of %s, whose head reads the first token', (name, config, weights, padId) => {
  let float: Model;
  let small: Model;
  beforeAll(async () => {
    float = await fromSafetensors(await writeCheckpoint(join(folder, name), config, weights()));
    const made = await quantize(float, 'logits', options(padId));
    small = made.model;
    expect(made.parity.rms / made.parity.spread).toBeLessThan(0.25);
    expect(made.layers.filter((l) => l.kept)).toEqual([]);
    expect(made.parity.batchDrift).toBe(0);
  });

  it('computes attention scores and layers from integers, with the biases inside', async () => {
    const products = ops(small, 'MatMulIntegerToFloat');
    expect(ofScores(small).length).toBeGreaterThan(0);
    expect(findScoreProducts(small.graph, await probeShapes(small))).toEqual([]);
    expect(ops(small, 'Gemm')).toEqual([]);
    // Queries are clipped to 7 bits, whatever a text gives: a pair of products must stay below 2¹⁵.
    const bytes = new Set(ops(small, 'QuantizeLinear').map((n) => n.outputs[0]!));
    const clips = ops(small, 'Clip').filter((n) => bytes.has(n.inputs[0]!));
    const most = clips.map((n) => numbers(small.graph.initializers.get(n.inputs[2]!)!));
    expect(most).toEqual(ofScores(small).map(() => [127]));
    const made = new Set(products.map((n) => n.outputs[0]!));
    const biased = ops(small, 'Add').filter((n) => n.inputs.some((i) => made.has(i)));
    expect(biased.filter((n) => n.inputs.some((i) => small.graph.initializers.get(i)?.dims.length === 1))).toEqual([]);
  });

  it('gives a row the same bits alone and beside longer ones', async () => {
    const texts = rows.slice(30, 46).map(({ ids }) => [...ids]);
    const width = Math.max(...texts.map((t) => t.length));
    const padded = texts.map((t) => [...t, ...new Array<number>(width - t.length).fill(padId)]);
    const together = await scoreRows(small, padded, padId);
    const alone: number[] = [];
    for (const text of texts) alone.push(...(await scoreRows(small, [text], padId)));
    expect(together).toEqual(alone);
  });
});

describe('attentionNoise', () => {
  it('is the largest change of scores by which the attention scores of a layer become 8-bit', async () => {
    const float = await fromSafetensors(
      await writeCheckpoint(join(folder, 'noise'), MPNET, randomWeights(mpnetShapes())),
    );
    const made = async (attentionNoise?: number) => {
      const { model } = await quantize(float, 'logits', {
        ...options(1),
        ...(attentionNoise !== undefined && { attentionNoise }),
      });
      return ofScores(model).length;
    };
    const all = await made();
    expect(all).toBeGreaterThan(0);
    expect(await made(1e9)).toBe(all);
    expect(await made(0)).toBe(0);
  });
});

/** x [rows, 2] in uint8 by steps of .5, times a matrix of int8, plus a bias. */
function product(bias: readonly number[], { isOutput = false } = {}): Model {
  const g = new GraphBuilder('product');
  const x = g.input('x', 'uint8', ['rows', 2]);
  const weights = g.constant(tensor('int8', [2, 3], [1, -2, 3, 4, 5, -6]));
  const step = g.scalar(0.5);
  const zero = g.constant(tensor('uint8', [], [10]));
  const inputs = [x, weights, step, g.constant(float32([3], [0.1, 0.2, 0.3])), zero, ''];
  const y = g.op('MatMulIntegerToFloat', inputs, {}, { domain: MICROSOFT });
  g.output(g.add(g.constant(float32([3], bias)), y), 'float32', ['rows', 3], 'sum');
  if (isOutput) g.output(y, 'float32', ['rows', 3]);
  return modelOf(g.build());
}

describe('foldBiases', () => {
  it('adds the constant inside the product, with the same result', async () => {
    const number = fc.double({ min: -9, max: 9, noNaN: true }).map(Math.fround);
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(number, number, number),
        fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }),
        async (bias, x) => {
          const model = product(bias);
          const folded = { ...model, graph: foldBiases(model.graph) };
          expect(ops(folded, 'Add')).toEqual([]);
          const feeds = { x: tensor('uint8', [2, 2], x) };
          const [before, after] = [await runOnce(model, feeds), await runOnce(folded, feeds)];
          numbers(after.sum!).forEach((y, i) => {
            expect(y).toBeCloseTo(numbers(before.sum!)[i]!, 3);
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  it('leaves a product alone whose own result is used', () => {
    const model = product([1, 2, 3], { isOutput: true });
    expect(foldBiases(model.graph)).toBe(model.graph);
  });
});

describe('foldInt8', () => {
  it('leaves a model without integer products as it is, but for names', async () => {
    const model = await fromSafetensors(
      await writeCheckpoint(join(folder, 'plain'), MPNET, randomWeights(mpnetShapes())),
    );
    const { model: folded } = await foldInt8(model);
    const ids = [[0, 5, 9, 2, 7]];
    expect(await scoreRows(folded, ids, 1)).toEqual(await scoreRows(model, ids, 1));
    expect(findScoreProducts(folded.graph, await probeShapes(folded))).toEqual([]);
  });
});

describe('chooseGroup', () => {
  /** States as GELU gives them: a long positive tail, nothing below −.17. */
  const states = Float32Array.from({ length: 64 * 8 }, () => Math.max(-0.17, 3 * random.normal()));
  const statistics = {
    channelMaxima: new Float32Array(8).fill(9),
    channelPeaks: new Float32Array(8).fill(9),
    channelMinima: new Float32Array(8).fill(0.17),
    sample: states,
    count: 64,
  };
  const group = {
    input: 'x',
    layers: [
      {
        node: { op: 'MatMul', domain: '', name: '', inputs: ['x', 'w'], outputs: ['y'], attrs: {} },
        weight: 'w',
        matrix: float32(
          [8, 4],
          Array.from({ length: 32 }, () => random.normal()),
        ),
        bias: undefined,
      },
    ],
  };

  it('gives the steps that no state uses to the positive side', () => {
    expect(chooseGroup(group, statistics).quantization.zeroPoint).toBeLessThan(128);
  });

  it('keeps zero in the middle for states of both signs', () => {
    const both = { ...statistics, channelMinima: new Float32Array(8).fill(9) };
    expect(chooseGroup(group, both).quantization.zeroPoint).toBe(128);
  });
});
