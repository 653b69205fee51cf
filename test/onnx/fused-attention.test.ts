import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Model } from '../../src/onnx/graph.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { fuseAttention } from '../../src/onnx/rewrites/fused-attention.ts';
import { fuseSkipNorm } from '../../src/onnx/rewrites/skip-norm.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';
import { FIXTURES, type Golden, NO_FIXTURES } from '../support/training-fixtures.ts';

/*
 * Fused attention and normalization against PyTorch's logits, on the processor, whose engine has the node. Padding stands behind the tokens, as the host puts it.
 */

/** Positions of the fixtures' tables; ModernBERT's windows have 6 tokens. */
const MAX_LENGTH = 48;

/** Attention layers with padding masks alone, of all. ModernBERT's other layers see a window; DeBERTa adds relative positions to its scores. */
const LAYERS: Readonly<Record<string, 'all' | 'some' | 'none'>> = {
  bert: 'all',
  electra: 'all',
  roberta: 'all',
  modernbert: 'some',
  'modernbert-cls': 'some',
  'deberta-v2': 'none',
};

async function scores(model: Model, { inputs }: Golden): Promise<readonly number[]> {
  const dims = [inputs.input_ids.length, inputs.input_ids[0]!.length];
  const names = model.graph.inputs.map(({ name }) => name);
  const given = Object.entries(inputs).filter(([name]) => names.includes(name));
  const feeds = Object.fromEntries(given.map(([name, rows]) => [name, tensor('int64', dims, rows.flat())]));
  return numbers((await runOnce(model, feeds, { level: 'all' })).logits!);
}

const largest = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

const exportsOf = (family: string): readonly string[] =>
  existsSync(join(FIXTURES, family))
    ? readdirSync(join(FIXTURES, family)).filter((file) => file.endsWith('.onnx') && !file.startsWith('features-'))
    : [];

describe.skipIf(NO_FIXTURES !== '')(`fused attention ${NO_FIXTURES && `(skipped: ${NO_FIXTURES})`}`, () => {
  const cases = Object.keys(LAYERS).flatMap((family) => exportsOf(family).map((file) => [family, file] as const));

  it.each(cases)("%s/%s gives PyTorch's logits", async (family, file) => {
    const golden = JSON.parse(readFileSync(join(FIXTURES, family, 'golden.json'), 'utf8')) as Golden;
    const { model } = await prepare(await readModel(join(FIXTURES, family, file)), { output: 'logits' });
    const fused = await fuseAttention(model, MAX_LENGTH);
    expect(largest(await scores(fused.model, golden), golden.logits)).toBeLessThanOrEqual(1e-5);
    const whole = await fuseSkipNorm(fused.model);
    expect(whole.graph.nodes.map(({ op }) => op)).toContain('SkipLayerNormalization');
    expect(largest(await scores(whole, golden), golden.logits)).toBeLessThanOrEqual(1e-5);
    const softmaxes = fused.model.graph.nodes.filter(({ op }) => op === 'Softmax').length;
    const nodes = fused.model.graph.nodes.filter(({ op }) => op === 'MultiHeadAttention').length;
    expect({ nodes: nodes > 0, softmaxes: softmaxes > 0 }).toEqual({
      nodes: LAYERS[family] !== 'none',
      softmaxes: LAYERS[family] !== 'all',
    });
  });
});
