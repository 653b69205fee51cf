import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { readEncoderWeights } from '../../src/onnx/architectures/encoder-weights.ts';
import { freezeGraph, freezeNode, type Model, renameReads } from '../../src/onnx/graph.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { float32View } from '../../src/onnx/tensor.ts';
import { openInteraction } from '../../src/training/interaction/encoder.ts';
import { parseRecipe } from '../../src/training/recipe/recipe.ts';
import { writeCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyDocument } from '../support/tiny-recipe.ts';
import { TINY_BERT, tinyBertWeights, writeTinySentenceEncoder } from '../support/tiny-sentence-encoder.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'encoder-weights-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Renames the initializers of a model. */
function renamed(model: Model, nameOf: (name: string) => string): Model {
  const { graph } = model;
  const names = new Map([...graph.initializers.keys()].map((name) => [name, nameOf(name)]));
  const initializers = new Map([...graph.initializers].map(([name, value]) => [names.get(name)!, value]));
  const nodes = graph.nodes.map((node) => freezeNode(renameReads(node, names)));
  return { ...model, graph: freezeGraph({ ...graph, initializers, nodes }) };
}

/** Writes an encoder with its ONNX export alone, as exporters write it: matrices [in, out] under generated names. */
async function writeExport(name: string, prefix: string, nameOf = (own: string) => own): Promise<string> {
  const weights = await writeCheckpoint(join(root, `${name}-weights`), TINY_BERT, tinyBertWeights());
  const folder = await writeTinySentenceEncoder(join(root, name, 'encoder'));
  await rm(join(folder, 'model.safetensors'));
  let matrices = 0;
  const model = renamed(await fromSafetensors(weights), (own) => {
    if (!/\.(weight|bias)$/.test(own)) return own;
    const isMatrix = own.endsWith('.weight') && !/embeddings|LayerNorm/.test(own);
    return isMatrix ? `onnx::MatMul_${300 + matrices++}` : `${prefix}${nameOf(own)}`;
  });
  await writeModel(join(folder, 'onnx', 'model.onnx'), model);
  return folder;
}

const interaction = parseRecipe(tinyDocument({ interaction: { top: 1 } }), 'test').interaction!;

describe('weights of an encoder from its ONNX export', () => {
  it.each(['', 'bert.', 'model.0.auto_model.'])('behind %j', async (prefix) => {
    const folder = await writeExport(`plain-${prefix}`, prefix);
    const found = await readEncoderWeights(folder);
    const wanted = tinyBertWeights();
    expect([...found.keys()].toSorted()).toEqual([...wanted.keys()].toSorted());
    for (const [name, { dims, bytes }] of wanted) {
      expect(found.get(name)!.dims, name).toEqual(dims);
      expect(Buffer.from(found.get(name)!.bytes).equals(Buffer.from(bytes)), name).toBe(true);
    }
    const { weights, top } = await openInteraction(folder, interaction, 1);
    expect(float32View(weights.get('interaction.0.cross.key.weight')!)).toEqual(
      float32View(wanted.get('encoder.layer.2.attention.self.key.weight')!),
    );
    expect(top.graph.inputs.map(({ name }) => name)).not.toContain('token_type_ids');
  });

  it('refuses an export whose names say something else than its graph', async () => {
    const swapped = (name: string) =>
      name.replace(/self\.(query|key)/, (_, part) => `self.${part === 'query' ? 'key' : 'query'}`);
    const folder = await writeExport('swapped', '', swapped);
    await expect(openInteraction(folder, interaction, 1)).rejects.toThrow(/model\.onnx.*keep the names.*differ by/);
  });

  it('refuses a folder without weights', async () => {
    await expect(readEncoderWeights(root)).rejects.toThrow(/expected one of model\.safetensors.*got none of them/);
  });
});
