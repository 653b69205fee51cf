import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readVersionFolder } from '../../src/registry/version-folder.ts';
import { scratch, writeExport } from './support.ts';

type Files = Readonly<Record<string, unknown>>;

/** Reads an export with further files; objects are written as JSON. */
async function read(files: Files, config: Readonly<Record<string, unknown>> = {}) {
  const folder = await writeExport(await scratch(), { config });
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return readVersionFolder(folder);
}

const refusal = (files: Files, config?: Files) =>
  read(files, config).then(
    () => 'read',
    (error: Error) => error.message,
  );

const identity = 'torch.nn.modules.linear.Identity';
const sigmoid = 'torch.nn.modules.activation.Sigmoid';
const transformer = { idx: 0, name: '0', path: '', type: 'sentence_transformers.base.modules.transformer.Transformer' };

describe('config_sentence_transformers.json', () => {
  const named = (settings: Files, config?: Files) => read({ 'config_sentence_transformers.json': settings }, config);

  it('states the activation', async () => {
    expect(await named({ model_type: 'CrossEncoder', activation_fn: identity, __version__: {} })).toMatchObject({
      activation: 'none',
      warnings: [],
    });
    expect((await named({ activation_fn: sigmoid })).activation).toBe('sigmoid');
    expect((await named({ activation_fn: null, prompts: {}, default_prompt_name: null })).activation).toBe('sigmoid');
  });

  it('counts before config.json, and says so where they differ', async () => {
    const config = { sentence_transformers: { activation_fn: sigmoid } };
    const { activation, warnings } = await named({ activation_fn: identity }, config);
    expect(activation).toBe('none');
    expect(warnings).toEqual([expect.stringMatching(/config\.json says .*Sigmoid; .* counts, which says .*Identity/)]);
    expect((await named({}, { sentence_transformers: { activation_fn: identity } })).activation).toBe('none');
  });

  it('counts after model.json', async () => {
    const files = { 'config_sentence_transformers.json': { activation_fn: 'torch.nn.modules.activation.Tanh' } };
    expect(await refusal(files)).toMatch(/config_sentence_transformers\.json: expected Sigmoid or Identity .*Tanh/);
    expect((await read({ ...files, 'model.json': { format: 1, activation: 'none' } })).activation).toBe('none');
  });

  it('with a prompt for every query is refused with the way out', async () => {
    const message = await refusal({
      'config_sentence_transformers.json': { prompts: { web: 'Instruct: ' }, default_prompt_name: 'web' },
    });
    expect(message).toMatch(/let clients write it before every query.*web \("Instruct: "\) \(default_prompt_name\)/);
    expect(
      await refusal({ 'config_sentence_transformers.json': { prompts: { a: '' }, default_prompt_name: 'b' } }),
    ).toMatch(/one of the prompts, or null, got b/);
  });

  it('with prompts that are never applied is read with a warning; with empty ones without', async () => {
    expect((await named({ prompts: { web: 'Instruct: ' } })).warnings).toEqual([expect.stringMatching(/\(web\)/)]);
    expect((await named({ prompts: { query: '' }, default_prompt_name: 'query' })).warnings).toEqual([]);
  });

  it('of an embedding model is not applied, and says so', async () => {
    const { activation, warnings } = await named({ model_type: 'SentenceTransformer', activation_fn: identity });
    expect(activation).toBe('sigmoid');
    expect(warnings).toEqual([expect.stringMatching(/that of a SentenceTransformer.*not applied/)]);
  });

  it.each([[[1]], [{ activation_fn: 7 }], [{ default_prompt_name: 3 }], ['{']])('%j is refused', async (content) => {
    expect(await refusal({ 'config_sentence_transformers.json': content })).toMatch(
      /^config_sentence_transformers\.json: expected/,
    );
  });
});

describe('sentence_bert_config.json', () => {
  const length = async (settings: Files, config?: Files) =>
    (await read({ 'sentence_bert_config.json': settings }, config)).maxLength;

  it('states the length, within the positions of the graph', async () => {
    expect(await length({ max_seq_length: 32, do_lower_case: false })).toBe(32);
    expect(await length({ max_seq_length: 500 })).toBe(64);
    expect(await length({ max_seq_length: null })).toBe(64);
    expect(await length({ max_seq_length: 48 }, { model_type: 'roberta', max_position_embeddings: 40 })).toBe(38);
  });

  it('counts before the tokenizer and after model.json', async () => {
    const tokenizer = { 'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', model_max_length: 16 } };
    const files = { ...tokenizer, 'sentence_bert_config.json': { max_seq_length: 40 } };
    expect((await read(files)).maxLength).toBe(40);
    expect((await read({ ...files, 'model.json': { format: 1, maxLength: 24 } })).maxLength).toBe(24);
  });

  it.each<[Files, RegExp]>([
    [{ max_seq_length: '128' }, /max_seq_length/],
    [{ max_seq_length: 3 }, /8 or more/],
    [{ do_lower_case: 'yes' }, /do_lower_case/],
    [{ transformer_task: 'text-generation' }, /classification head/],
    [{ processing_kwargs: { text: { truncation: 'only_second' } } }, /model\.json and remove them, got truncation/],
  ])('%j is refused', async (settings, reason) => {
    expect(await refusal({ 'sentence_bert_config.json': settings })).toMatch(reason);
  });

  it('with settings that pairs have anyway is read', async () => {
    const settings = {
      transformer_task: 'sequence-classification',
      modality_config: { text: { method: 'forward', method_output_name: 'logits' } },
      module_output_name: 'scores',
      processing_kwargs: { text: { padding: 'longest' }, chat_template: { add_generation_prompt: true } },
    };
    expect((await read({ 'sentence_bert_config.json': settings })).warnings).toEqual([]);
  });
});

describe('modules.json', () => {
  it('of a Transformer alone is what the graph computes', async () => {
    const dropout = { idx: 1, path: '1_Dropout', type: 'sentence_transformers.models.Dropout' };
    expect((await read({ 'modules.json': [transformer] })).warnings).toEqual([]);
    expect((await read({ 'modules.json': [transformer, dropout] })).warnings).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    ['Pooling', 'sentence_transformers.models.Pooling', /remove modules\.json.*got Pooling/],
    ['Dense', 'sentence_transformers.base.modules.dense.Dense', /one graph with output logits.*got Dense/],
    ['LogitScore', 'sentence_transformers.cross_encoder.modules.logit_score.LogitScore', /got LogitScore/],
    ['code of its own', 'my_module.Head', /got Head/],
    ['no type', 7, /a class name, got 7/],
  ])('with %s is refused by name', async (_, type, reason) => {
    expect(await refusal({ 'modules.json': [transformer, { idx: 1, path: '1_X', type }] })).toMatch(reason);
  });

  it.each([[[]], [{}], [[{ ...transformer, path: '0_Transformer' }]], [[7]]])('%j is refused', async (modules) => {
    expect(await refusal({ 'modules.json': modules })).toMatch(/^modules\.json: expected/);
  });
});

describe('files next to the graph', () => {
  it.each([
    ['1_Pooling/config.json', /no module next to the ONNX file.*remove its folder/],
    ['2_Dense/model.safetensors', /no module next to the ONNX file/],
    ['adapter_config.json', /merge_and_unload.*remove adapter_config\.json/],
    ['lora/adapter_model.safetensors', /merge_and_unload/],
  ])('%s is refused with the way out', async (path, reason) => {
    const message = await refusal({ [path]: '{}' });
    expect(message).toMatch(reason);
    expect(message.startsWith(path)).toBe(true);
  });

  it('that may belong to the model and are not read are warnings', async () => {
    const { warnings } = await read({ 'head.safetensors': '', 'chat_template.jinja': '' });
    expect(warnings).toEqual([
      expect.stringMatching(/^head\.safetensors is not read/),
      expect.stringMatching(/^chat_template\.jinja is not applied/),
    ]);
  });

  it('of the usual names are none', async () => {
    const usual = ['model.safetensors', 'model-00001-of-00002.safetensors', 'pytorch_model.bin', 'optimizer.pt'];
    const others = { 'ort_config.json': {}, 'special_tokens_map.json': {}, 'generation_config.json': {} };
    const files = { ...Object.fromEntries(usual.map((name) => [name, ''])), ...others };
    expect((await read(files)).warnings).toEqual([]);
  });
});
