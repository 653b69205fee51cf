import { describe, expect, it } from 'vitest';
import { adoptActivation, adoptFirstPosition, adoptMaxLength, adoptReduction } from '../../src/registry/adoption.ts';

describe('maximum length of an export', () => {
  it.each([
    ['bert', { model_type: 'bert', max_position_embeddings: 512 }, { model_max_length: 512 }, 512],
    ['a tokenizer that takes less', { max_position_embeddings: 512 }, { model_max_length: 128 }, 128],
    ['roberta counts from behind its padding id', { model_type: 'roberta', max_position_embeddings: 514 }, {}, 512],
    [
      'xlm-roberta of 8,192',
      { model_type: 'xlm-roberta', max_position_embeddings: 8194 },
      { model_max_length: 8192 },
      8192,
    ],
    ['modernbert', { model_type: 'modernbert', max_position_embeddings: 8192 }, { model_max_length: 8192 }, 8192],
    ['a tokenizer without a limit', { max_position_embeddings: 512 }, { model_max_length: 1e30 }, 512],
    ['nothing stated', {}, {}, 512],
    ['relative positions', { model_type: 'deberta-v2', max_position_embeddings: -1 }, {}, 512],
    ['a decoder', { model_type: 'qwen3', max_position_embeddings: 40_960 }, { model_max_length: 131_072 }, 8192],
    ['a short decoder', { model_type: 'qwen2', max_position_embeddings: 1024 }, { model_max_length: 512 }, 512],
    ['wrong types', { max_position_embeddings: '9' }, { model_max_length: [1] }, 512],
  ])('%s', (_, config, tokenizer, length) => expect(adoptMaxLength(config, tokenizer)).toBe(length));
});

describe('first position of a row', () => {
  it.each([
    [{ model_type: 'bert', pad_token_id: 1 }, 0],
    [{ model_type: 'modernbert', pad_token_id: 50_283 }, 0],
    [{ model_type: 'roberta', pad_token_id: 1 }, 2],
    [{ model_type: 'xlm-roberta' }, 2],
    [{ model_type: 'camembert', pad_token_id: 0 }, 1],
    [{ model_type: 'mpnet', pad_token_id: 0 }, 2],
    [{ model_type: 'roberta', pad_token_id: 'x' }, 2],
  ])('%j → %i', (config, first) => {
    expect(adoptFirstPosition(config)).toBe(first);
    expect(adoptMaxLength({ ...config, max_position_embeddings: 100 }, {})).toBe(100 - first);
  });
});

describe('activation of an export', () => {
  it.each([
    [{}, 'sigmoid'],
    [{ sentence_transformers: { activation_fn: 'torch.nn.modules.activation.Sigmoid' } }, 'sigmoid'],
    [{ sentence_transformers: { activation_fn: 'torch.nn.modules.linear.Identity' } }, 'none'],
    [{ sbert_ce_default_activation_function: 'torch.nn.modules.linear.Identity' }, 'none'],
    [{ sentence_transformers: null }, 'sigmoid'],
  ])('%j → %s', (config, activation) => expect(adoptActivation(config)).toBe(activation));

  it.each([{ sentence_transformers: { activation_fn: 'torch.nn.Tanh' } }, { sbert_ce_default_activation_function: 7 }])(
    'refuses %j',
    (config) => expect(() => adoptActivation(config)).toThrow(/activation_fn/),
  );

  it('is not misled by names of the language', () => {
    expect(() => adoptActivation({ sentence_transformers: { activation_fn: 'constructor' } })).toThrow(/Sigmoid/);
  });
});

describe('reduction of an export', () => {
  it.each([
    [{}, 1, { kind: 'single' }],
    [{ id2label: { 0: 'LABEL_0' } }, undefined, { kind: 'single' }],
    [{}, undefined, { kind: 'single' }],
    [{}, 2, { kind: 'class', index: 1 }],
    [{ id2label: { 0: 'LABEL_0', 1: 'LABEL_1' } }, undefined, { kind: 'class', index: 1 }],
    [{ id2label: { 0: 'relevant', 1: 'irrelevant' } }, 2, { kind: 'class', index: 0 }],
    [{ id2label: { 0: 'contradiction', 1: 'entailment', 2: 'neutral' } }, 3, { kind: 'class', index: 1 }],
    [{ num_labels: 2 }, undefined, { kind: 'class', index: 1 }],
    // A width the graph fixes outweighs what the config says.
    [{ id2label: { 0: 'a', 1: 'b', 2: 'c' } }, 1, { kind: 'single' }],
  ])('%j, width %s', (config, width, reduction) => expect(adoptReduction(config, width)).toEqual(reduction));

  it('asks for a manifest where it cannot know', () => {
    expect(() => adoptReduction({ id2label: { 0: 'a', 1: 'b', 2: 'c' } }, 3)).toThrow(/model\.json/);
  });
});
