import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { probeFeeds, probeShapes } from '../../src/onnx/probe.ts';
import { narrow } from '../../src/onnx/rewrites/narrow.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { deferred, numbers } from '../../src/onnx/tensor.ts';
import { writeServed } from '../../src/onnx/write-served.ts';
import { MODERNBERT, modernbertWeights, writeCheckpoint } from '../support/tiny-checkpoint.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-served-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A ModernBERT whose head reads the first token. */
async function firstToken(dtype: 'float32' | 'bfloat16'): Promise<Model> {
  const folder = mkdtempSync(join(root, 'weights-'));
  // Large enough for a file of its own: 1 KiB.
  const vocabulary = 200;
  const config = { ...MODERNBERT, classifier_pooling: 'cls', vocab_size: vocabulary };
  await writeCheckpoint(folder, config, modernbertWeights(dtype, vocabulary));
  return fromSafetensors(folder);
}

const scoresOf = async (model: Model) => numbers((await runOnce(model, probeFeeds(model.graph.inputs, 5, 9))).logits!);

/** Counts the products that are computed for every token of a row. */
async function productsOverTokens(model: Model): Promise<number> {
  const shapes = await probeShapes(model, probeFeeds(model.graph.inputs, 2, 11));
  return model.graph.nodes.filter(({ op, outputs }) => op === 'MatMul' && shapes.get(outputs[0]!)!.dims[1] === 11)
    .length;
}

describe('a model that is built from weights', () => {
  it.each([
    ['inside', 'float32', Number.POSITIVE_INFINITY, ['model.onnx']],
    ['beside it', 'bfloat16', 0, ['model.onnx', 'model.onnx.data']],
  ] as const)('computes its last layer for the token that is read, weights %s', async (_, dtype, mapped, files) => {
    const model = await firstToken(dtype);
    const folder = mkdtempSync(join(root, 'served-'));
    await writeServed(join(folder, 'model.onnx'), model, mapped);
    expect(readdirSync(folder).toSorted()).toEqual(files);
    const written = await readModel(join(folder, 'model.onnx'));
    const [before, after] = [await scoresOf(model), await scoresOf(written)];
    for (const [i, score] of before.entries()) expect(after[i]).toBeCloseTo(score, 6);
    // Output projection and both halves of the feed-forward part; queries and keys share one product with values.
    expect((await productsOverTokens(model)) - (await productsOverTokens(written))).toBe(3);
  });

  it('is narrowed without a look at its weights', async () => {
    const model = await firstToken('float32');
    const shapes = await probeShapes(model);
    const never = (): never => {
      throw new Error('weights were read');
    };
    const initializers = new Map(
      [...model.graph.initializers].map(([name, value]) => [
        name,
        value.dtype === 'float32' && value.dims.length > 1 ? deferred(value.dtype, value.dims, never) : value,
      ]),
    );
    expect(narrow({ ...model.graph, initializers }, shapes).nodes).toEqual(narrow(model.graph, shapes).nodes);
  });

  it('leaves nothing beside its weights where the engine refuses it', async () => {
    const model = await firstToken('float32');
    const folder = mkdtempSync(join(root, 'refused-'));
    const nodes = model.graph.nodes.map((node) => (node.op === 'Softmax' ? { ...node, op: 'NoSuchOp' } : node));
    const bad = { ...model, graph: { ...model.graph, nodes } };
    await expect(writeServed(join(folder, 'model.onnx'), bad, 0)).rejects.toThrow(/NoSuchOp/);
    expect(readdirSync(folder)).toEqual(['model.onnx.data']);
  });
});
