import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import type { Model } from '../../../src/onnx/graph.ts';
import { readModel } from '../../../src/onnx/model-file.ts';
import { probeShapes } from '../../../src/onnx/probe.ts';
import { halveModel, toHalf } from '../../../src/onnx/rewrites/fp16.ts';
import { attachHead, freshHead } from '../../../src/onnx/rewrites/head.ts';
import { quantizeMatrix } from '../../../src/onnx/rewrites/int8.ts';
import { findLinears, findTables } from '../../../src/onnx/rewrites/linears.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../../src/onnx/tensor.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import type { EncodedRow } from '../../../src/tokenization/tokenization-types.ts';
import { multiply, smoothingOf } from '../../../src/training/quantization/group-search.ts';
import { refusal } from '../../../src/training/quantization/parity.ts';
import { halve, quantize } from '../../../src/training/quantization/quantize.ts';
import { createRandom } from '../../../src/util/random.ts';
import { integerProducts } from '../../support/processor.ts';
import { WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-int8-'));
let tiny: Model;
let rows: EncodedRow[];

async function tinyRows(count: number, seed: number): Promise<EncodedRow[]> {
  const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
  const random = createRandom(seed);
  const say = (words: number) => Array.from({ length: words }, () => WORDS[random.below(WORDS.length)]!).join(' ');
  const options = {
    maxLength: 32,
    maxQueryTokens: 8,
    truncation: 'longest_first',
    side: 'right',
    longPassages: 'truncate',
    windowOverlap: 0,
  } as const;
  const found: EncodedRow[] = [];
  while (found.length < count)
    found.push(...(await tokenizer.encode(say(1 + random.below(3)), [say(1 + random.below(12))], options)).rows);
  await tokenizer.close();
  return found;
}

beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tiny = await readModel(join(folder, 'tiny', 'onnx', 'model.onnx'));
  rows = await tinyRows(120, 1);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = () => ({ padId: 0, calibration: rows.slice(0, 60), check: rows.slice(60) });

describe('quantize', () => {
  it('gives scores near the float ones that do not depend on co-batched rows', async () => {
    const { parity, layers } = await quantize(tiny, 'logits', options());
    // Sums over tokens have one order, which does not depend on the batch.
    expect(parity.batchDrift).toBe(0);
    expect(parity.rms / parity.spread).toBeLessThan(0.25);
    expect(parity.kendall).toBeGreaterThan(0.9);
    expect(layers.length).toBeGreaterThan(0);
  });

  it('keeps layers with a large error in float32', async () => {
    const all = await quantize(tiny, 'logits', { ...options(), keepAbove: 0 });
    expect(all.layers.every((l) => l.kept)).toBe(true);
    expect(all.parity.largest).toBeLessThan(1e-5);
  });

  it('keeps layers in float32 that change the scores most, up to the share', async () => {
    const [none, one] = [
      await quantize(tiny, 'logits', { ...options(), noise: 1e9, keepShare: 1 }),
      await quantize(tiny, 'logits', { ...options(), noise: 0, keepShare: 1 }),
    ];
    // One group reads states of tokens; the others follow the pooling.
    expect(none.layers.filter((l) => l.noise !== undefined)).toMatchObject([{ kept: false }]);
    expect(one.layers.filter((l) => l.noise !== undefined)).toMatchObject([{ kept: true }]);
    expect(none.layers[0]!.noise).toBeGreaterThan(0);
    expect(one.parity.rms).toBeLessThan(none.parity.rms);
  });

  it('tries no layer alone where none has to stay in float32', async () => {
    const { layers, parity } = await quantize(tiny, 'logits', options());
    expect(layers.filter((l) => 'noise' in l)).toEqual([]);
    const tried = await quantize(tiny, 'logits', { ...options(), noise: 1e9, keepShare: 1 });
    expect({ ...tried.parity, speed: 0 }).toEqual({ ...parity, speed: 0 });
  });

  it('refuses what exceeds its bounds', async () => {
    await expect(quantize(tiny, 'logits', { ...options(), bounds: { relativeRms: 0, batchDrift: 1 } })).rejects.toThrow(
      /expected scores within 0 of their spread/,
    );
  });
});

describe('halve', () => {
  it('gives scores with the error of half precision, as float32', async () => {
    const { parity, model } = await halve(tiny, 'logits', options());
    expect(parity.largest).toBeLessThan(0.01);
    expect(model.graph.outputs).toMatchObject([{ name: 'logits', dtype: 'float32' }]);
    expect([...model.graph.initializers.values()].some((t) => t.dtype === 'float32')).toBe(false);
  });

  it('keeps rotary angles in float32: far positions have no float16', async () => {
    const g = new GraphBuilder();
    g.input('input_ids', 'int64', ['batch', 'sequence']);
    const length = g.squeeze(g.slice(g.shape('input_ids'), [1], [2], [0]), [0]);
    const places = g.op('Range', [g.scalar(0, 'int64'), length, g.scalar(1, 'int64')]);
    const angles = g.mul(g.unsqueeze(g.cast(places, 'float32'), [1]), g.initializer('step', float32([1, 1], [0.37])));
    const sines = g.mul(g.op('Sin', [angles]), g.initializer('weight', float32([1, 1], [2])));
    g.output(sines, 'float32', ['sequence', 1], 'logits');
    const model = modelOf(g.build());
    const small = halveModel(model, await probeShapes(model));
    const feeds = { input_ids: tensor('int64', [1, 5000], new Array<number>(5000).fill(0)) };
    const got = numbers((await runOnce(small, feeds)).logits!);
    for (const [i, x] of got.entries()) expect(Math.abs(x - 2 * Math.sin(0.37 * i))).toBeLessThan(3e-3);
    expect(small.graph.initializers.get('weight')!.dtype).toBe('float16');
  });

  it('saturates at the ends of the range', () => {
    expect(numbers(toHalf(float32([4], [-3.4e38, 1e6, 0.5, Number.NEGATIVE_INFINITY])))).toEqual([
      -65504,
      65504,
      0.5,
      Number.NEGATIVE_INFINITY,
    ]);
  });
});

const matrices = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
  .chain(([m, n]) =>
    fc.tuple(
      fc.constant([m, n] as const),
      fc.array(fc.double({ min: -50, max: 50, noNaN: true }).map(Math.fround), { minLength: m * n, maxLength: m * n }),
    ),
  );

describe('quantizeMatrix', () => {
  it('keeps pairs of rows within 16 bits for any matrix', () => {
    const cell = fc.double({ min: -3, max: 3, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(cell, { minLength: 18, maxLength: 18 }), (m, values) => {
        const { values: q } = quantizeMatrix(Float32Array.from(values), m, 2, new Float32Array(m).fill(1));
        for (let i = 0; i < m; i += 2)
          for (let j = 0; j < 2; j++) {
            const pair = [q[i * 2 + j]!, i + 1 < m ? q[(i + 1) * 2 + j]! : 0];
            const up = pair.reduce((sum, w) => sum + Math.max(0, w), 0);
            const down = pair.reduce((sum, w) => sum + Math.max(0, -w), 0);
            expect(Math.max(up, down) * 255).toBeLessThanOrEqual(32_767);
          }
      }),
    );
  });

  it('gives products that are exact on every processor, also on those that saturate', async () => {
    const random = createRandom(5);
    const [m, n] = [64, 48];
    // Weights of one sign and the largest activations: the worst case.
    const matrix = Float32Array.from({ length: m * n }, () => 0.5 + random.next());
    const { values } = quantizeMatrix(matrix, m, n, new Float32Array(m).fill(1));
    const weights = Array.from({ length: m }, (_, i) => Array.from(values.subarray(i * n, (i + 1) * n)));
    const rows = [new Array<number>(m).fill(255), Array.from({ length: m }, () => random.below(256))];
    const exact = rows.flatMap((x) =>
      Array.from({ length: n }, (_, j) => x.reduce((sum, value, i) => sum + value * weights[i]![j]!, 0)),
    );
    expect(await integerProducts(rows, weights)).toEqual(exact);
  });

  it('is off by at most half a step of each column', () => {
    fc.assert(
      fc.property(matrices, ([[m, n], values]) => {
        const { values: q, scales } = quantizeMatrix(Float32Array.from(values), m, n, new Float32Array(m).fill(1));
        values.forEach((w, i) => {
          expect(Math.abs(w - q[i]! * scales[i % n]!)).toBeLessThanOrEqual(scales[i % n]! * 0.5001 + 1e-9);
        });
      }),
    );
  });
});

describe('multiply', () => {
  it('equals the sum of products', () => {
    expect([...multiply(Float32Array.of(1, 2, 3, 4), Float32Array.of(1, 0, 2, 1, 1, 1), 2, 2, 3)]).toEqual([
      3, 2, 4, 7, 4, 10,
    ]);
  });
});

describe('smoothingOf', () => {
  it('is 1 for equal maxima, and the maxima at α = 1', () => {
    const group = {
      input: 'x',
      layers: [{ node: {} as never, weight: 'w', matrix: float32([2, 1], [4, 4]), bias: undefined }],
    };
    expect([...smoothingOf(group, Float32Array.of(4, 4), 0.5)]).toEqual([1, 1]);
    expect([...smoothingOf(group, Float32Array.of(8, 2), 1)]).toEqual([8, 2]);
  });
});

describe('refusal', () => {
  const good = { rows: 1, rms: 0.1, largest: 0.2, spread: 1, kendall: 1, batchDrift: 0, speed: 2 };
  it('says what is wrong', () => {
    expect(refusal(good)).toBeUndefined();
    expect(refusal({ ...good, batchDrift: 0.5 })).toMatch(/co-batched rows/);
    expect(refusal({ ...good, rms: Number.NaN })).toMatch(/RMS/);
  });
});

const SHARED = resolve(import.meta.dirname, '../../../../shared');
const L3 = join(SHARED, 'backbones/paraphrase-minilm-l3-v2');

describe.skipIf(!existsSync(L3))('a real backbone (needs ../shared)', () => {
  it('MiniLM-L3 with a head: all 15 linear groups and the word table, drift 0', async () => {
    const model = attachHead(
      await readModel(join(L3, 'onnx/model.onnx')),
      freshHead({ pooling: 'cls', hidden: 384, dense: 'tanh', seed: 1 }),
    );
    expect(findTables(model.graph, 4096)).toHaveLength(1);
    const tokenizer = await createLocalTokenizer(L3);
    const data = JSON.parse(readFileSync(join(SHARED, 'data/trec-dl/BM25.dl19.top100.json'), 'utf8')) as {
      query: string;
      hits: { content: string }[];
    }[];
    const settings = {
      maxLength: 48,
      maxQueryTokens: 16,
      truncation: 'longest_first',
      side: 'right',
      longPassages: 'truncate',
      windowOverlap: 0,
    } as const;
    const encode = async (from: number, to: number) =>
      (
        await Promise.all(
          data.slice(from, to).map((q) =>
            tokenizer.encode(
              q.query,
              q.hits.slice(0, 8).map((h) => h.content),
              settings,
            ),
          ),
        )
      ).flatMap((r) => r.rows);
    const result = await quantize(model, 'logits', {
      padId: tokenizer.padId,
      calibration: await encode(0, 3),
      check: await encode(5, 8),
    });
    // Four per layer; in the last one the query reads the first token, keys and values all of them; two of the head.
    expect(result.layers).toHaveLength(15);
    // The head reads the first token: every layer is exact in integers, so a row's score is the same to the bit in every batch.
    expect(result.parity.batchDrift).toBe(0);
    expect(result.parity.rms / result.parity.spread).toBeLessThan(0.25);
    expect(result.layers.filter((l) => l.kept)).toEqual([]);
    expect(findLinears(result.model.graph)).toEqual([]);
  });
});
