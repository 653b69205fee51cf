import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { writeModel } from '../../../src/onnx/model-file.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { writeTinyTokenizer } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-pair-head-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HIDDEN = 4;

/** Writes an encoder whose graph has no token types, and says in config.json how many the model knows. */
async function untyped(types: number): Promise<string> {
  const path = join(folder, `types-${types}`);
  mkdirSync(join(path, 'onnx'), { recursive: true });
  const g = new GraphBuilder();
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  g.input('attention_mask', 'int64', ['batch', 'sequence']);
  const table = g.initializer('word_embeddings.weight', float32([45, HIDDEN], new Array(45 * HIDDEN).fill(1)));
  g.output(g.gather(table, ids), 'float32', ['batch', 'sequence', HIDDEN], 'last_hidden_state');
  await writeModel(join(path, 'onnx', 'model.onnx'), modelOf(g.build()));
  writeTinyTokenizer(path);
  const config = { model_type: 'bert', hidden_size: HIDDEN, max_position_embeddings: 64, type_vocab_size: types };
  writeFileSync(join(path, 'config.json'), JSON.stringify(config));
  return path;
}

const load = async (types: number) =>
  loadBackbone(await untyped(types), { head: { pooling: 'pair', hidden: false }, seed: 1, freeze: [] });

describe('a pair head on an encoder without token types', () => {
  it('reads the types of the tokenizer', async () => {
    const { model } = await load(2);
    expect(model.graph.inputs.map(({ name }) => name)).toContain('token_type_ids');
  });

  it('is refused where the tokenizer gives both texts the same type', async () =>
    expect(load(1)).rejects.toThrow(
      'recipe: expected head.pooling cls, mean or last, because the tokenizer gives query and passage the same token type, got head.pooling pair',
    ));
});
