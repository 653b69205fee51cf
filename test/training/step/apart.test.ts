import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../../src/autodiff/check-gradients.ts';
import { createSession } from '../../../src/inference/providers.ts';
import { readWholeModel } from '../../../src/onnx/architectures/whole-model.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { numbers, tensor } from '../../../src/onnx/tensor.ts';
import { formBatch } from '../../../src/training/data/batches.ts';
import { createObjective } from '../../../src/training/objectives/catalog.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { loadBackbone, trainable } from '../../../src/training/step/backbone.ts';
import { createHostStepper } from '../../../src/training/step/host-stepper.ts';
import { buildStep } from '../../../src/training/step/step.ts';
import { type Config, randomWeights, writeCheckpoint } from '../../support/tiny-checkpoint.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-apart-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HIDDEN = 8;
const CONFIG: Config = {
  model_type: 'bert',
  architectures: ['BertModel'],
  vocab_size: 120,
  hidden_size: HIDDEN,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_hidden_layers: 2,
  max_position_embeddings: 32,
  type_vocab_size: 2,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
};

function shapes(): Record<string, readonly number[]> {
  const all: Record<string, readonly number[]> = {
    'embeddings.word_embeddings.weight': [120, HIDDEN],
    'embeddings.position_embeddings.weight': [32, HIDDEN],
    'embeddings.token_type_embeddings.weight': [2, HIDDEN],
    'embeddings.LayerNorm.weight': [HIDDEN],
    'embeddings.LayerNorm.bias': [HIDDEN],
  };
  const linear = (name: string, out: number, inner: number) => {
    all[`${name}.weight`] = [out, inner];
    all[`${name}.bias`] = [out];
  };
  for (const i of [0, 1]) {
    const layer = `encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, HIDDEN, HIDDEN);
    linear(`${layer}.attention.output.dense`, HIDDEN, HIDDEN);
    linear(`${layer}.intermediate.dense`, 12, HIDDEN);
    linear(`${layer}.output.dense`, HIDDEN, 12);
    for (const norm of ['attention.output.LayerNorm', 'output.LayerNorm']) {
      all[`${layer}.${norm}.weight`] = [HIDDEN];
      all[`${layer}.${norm}.bias`] = [HIDDEN];
    }
  }
  return all;
}

const encoder = () => writeCheckpoint(join(folder, 'encoder'), CONFIG, randomWeights(shapes()));
const QUERIES = [
  [3, 7, 9],
  [5, 11],
];
const PASSAGES = [
  [8, 4, 12, 6],
  [13, 14, 15, 9, 10, 3],
];
const [CLS, SEP] = [1, 2];
const int64 = (rows: readonly (readonly number[])[], length: number) =>
  tensor(
    'int64',
    [rows.length, length],
    rows.flatMap((row) => [...row, ...new Array<number>(length - row.length).fill(0)]),
  );

/** Cosines of the mean states of the texts, each read alone. */
async function cosines(path: string): Promise<number[]> {
  const model = await readWholeModel(path, async () => undefined);
  const mean = async (tokens: readonly number[]): Promise<number[]> => {
    const ids = [CLS, ...tokens, SEP];
    const feeds = {
      input_ids: int64([ids], ids.length),
      attention_mask: int64([ids.map(() => 1)], ids.length),
      token_type_ids: int64([ids.map(() => 0)], ids.length),
    };
    const inputs = Object.fromEntries(model.graph.inputs.map(({ name }) => [name, feeds[name as 'input_ids']]));
    const states = numbers((await runOnce(model, inputs)).last_hidden_state!);
    return Array.from(
      { length: HIDDEN },
      (_, h) => ids.reduce((sum, _i, t) => sum + states[t * HIDDEN + h]!, 0) / ids.length,
    );
  };
  return Promise.all(
    QUERIES.map(async (query, i) => {
      const [q, p] = [await mean(query), await mean(PASSAGES[i]!)];
      return q.reduce((sum, x, h) => sum + x * p[h]!, 0) / (Math.hypot(...q) * Math.hypot(...p));
    }),
  );
}

/** One list of both passages for the first query; the rows differ in length. */
function pairBatch() {
  const rows = PASSAGES.map((passage) => {
    const query = QUERIES[0]!;
    const ids = Int32Array.from([CLS, ...query, SEP, ...passage, SEP]);
    return { ids, secondSegment: query.length + 2, truncated: false };
  });
  const list = { qid: '1', query: '', passages: ['a', 'b'], relevance: [1, 0], teacher: [2, 1] };
  return formBatch([{ list, rows }]);
}

describe('a pair head that reads the texts apart', () => {
  it.each([true, false])(
    'scores as the cosine of the sentence encoder before the first step; hidden %s',
    async (hidden) => {
      const path = await encoder();
      const head = { pooling: 'pair', hidden, apart: true } as const;
      const { model, weights } = await loadBackbone(path, { head, seed: 1, freeze: [] });
      expect(weights.filter((w) => w.name.startsWith('texts.gate')).map((w) => w.group)).toEqual([
        'backbone',
        'backbone',
      ]);
      const rows = QUERIES.map((q, i) => [CLS, ...q, SEP, ...PASSAGES[i]!, SEP]);
      const length = Math.max(...rows.map((row) => row.length));
      const feeds = {
        input_ids: int64(rows, length),
        attention_mask: int64(
          rows.map((row) => row.map(() => 1)),
          length,
        ),
        token_type_ids: int64(
          rows.map((row, i) => row.map((_, t) => +(t >= QUERIES[i]!.length + 2))),
          length,
        ),
      };
      const scores = numbers((await runOnce(model, feeds)).logits!);
      const expected = await cosines(path);
      for (const [i, cosine] of expected.entries()) expect(scores[i]!).toBeCloseTo(10 * cosine - 5, 4);
      expect(Math.abs(expected[0]! - expected[1]!)).toBeGreaterThan(1e-4);
    },
  );

  it('has gates whose gradients are those of central differences, and not 0', async () => {
    const head = { pooling: 'pair', hidden: false, apart: true } as const;
    const { model, weights } = await loadBackbone(await encoder(), { head, seed: 1, freeze: [] });
    const gates = weights
      .filter((w) => w.name.startsWith('texts.gate'))
      .map(({ name, value, decays }) => ({ tensor: name, name, dims: value.dims, decay: decays }));
    // The batch has token type 0, so that the second text is its own first token.
    const report = await checkGradients(model, gates);
    expect(report.weights.every(({ norm }) => norm > 0)).toBe(true);
    expect(report.passed).toBe(true);
  });

  it.each([{ apart: true, nearest: 0.5 }, { apart: true }, { nearest: 0.5 }])(
    'takes the same step with its tokens packed: %o',
    async (settings) => {
      const head = { pooling: 'pair', hidden: true, ...settings } as const;
      const backbone = await loadBackbone(await encoder(), { head, seed: 1, freeze: [] });
      const take = async (packBy: string | undefined) => {
        const optimizer = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };
        const { model, trained, tables } = await buildStep(backbone.model, backbone.logits, {
          kind: 'gradients',
          objective: createObjective('InfoNCE'),
          optimizer,
          weights: trainable(backbone),
          microBatches: 1,
          packBy,
        });
        const session = await createSession(model, { threads: 1, optimization: 'basic' });
        const stepper = createHostStepper(session, { weights: trained, optimizer, padId: 0, tables, threads: 1 });
        const { loss, norm } = await stepper.step([pairBatch()], 1, { backbone: 1e-3, head: 1e-3 });
        await stepper.close?.();
        return { loss, norm: norm!, gathers: model.graph.nodes.filter(({ op }) => op === 'Gather').length };
      };
      const [plain, packed] = [await take(undefined), await take(backbone.mask)];
      expect(packed.gathers).toBeGreaterThan(plain.gathers);
      expect(packed.loss).toBeCloseTo(plain.loss, 5);
      expect(packed.norm / plain.norm).toBeCloseTo(1, 4);
    },
  );

  it('is refused with another pooling', () =>
    expect(() =>
      parseRecipe(
        {
          name: 'x',
          backbone: 'x',
          objective: 'BCE',
          data: { train: [{ format: 'jsonl', path: 'x' }] },
          head: { pooling: 'cls', apart: true },
        },
        'test',
      ),
    ).toThrow(/apart/));
});
