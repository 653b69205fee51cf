import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BYTE_CHARACTERS } from '../../src/tokenization/byte-characters.ts';
import { type Config, randomWeights, writeCheckpoint } from './tiny-checkpoint.ts';

/** Special tokens of the tiny tokenizer, from id 0. */
export const SPECIAL = ['<pad>', '<user>', '<end>', 'yes', 'no'];
/** Bytes, and what is merged of them: a mark with the line end after it, words with their space. */
const MERGES = ['? Ċ', 'Ġ a', 'Ġa b', 'Ġ w', 'c d'];
const VOCABULARY = [...SPECIAL, ...BYTE_CHARACTERS, ...MERGES.map((merge) => merge.replace(' ', ''))];

const BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
/** The pattern of Qwen's tokenizers. */
const SPLIT = {
  type: 'Split',
  behavior: 'Isolated',
  invert: false,
  pattern: {
    Regex:
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  },
};

/** Writes a byte-level tokenizer whose texts end where Qwen's do. */
export async function writeByteTokenizer(folder: string): Promise<void> {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const definition = {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [SPLIT, { ...BYTES, use_regex: false }] },
    post_processor: BYTES,
    decoder: BYTES,
    model: { type: 'BPE', vocab: Object.fromEntries(VOCABULARY.map((token, id) => [token, id])), merges: MERGES },
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(definition));
}

const HIDDEN = 16;
const WIDE = 24;
const HEAD = 8;

/** Config of a Qwen3 language model with tied words. */
export const QWEN3: Config = {
  model_type: 'qwen3',
  architectures: ['Qwen3ForCausalLM'],
  vocab_size: VOCABULARY.length,
  hidden_size: HIDDEN,
  intermediate_size: WIDE,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: HEAD,
  tie_word_embeddings: true,
  max_position_embeddings: 512,
  pad_token_id: 0,
};

function shapes(): Readonly<Record<string, readonly number[]>> {
  const layer = (at: string) => ({
    [`${at}input_layernorm.weight`]: [HIDDEN],
    [`${at}self_attn.q_proj.weight`]: [2 * HEAD, HIDDEN],
    [`${at}self_attn.k_proj.weight`]: [HEAD, HIDDEN],
    [`${at}self_attn.v_proj.weight`]: [HEAD, HIDDEN],
    [`${at}self_attn.o_proj.weight`]: [HIDDEN, 2 * HEAD],
    [`${at}self_attn.q_norm.weight`]: [HEAD],
    [`${at}self_attn.k_norm.weight`]: [HEAD],
    [`${at}post_attention_layernorm.weight`]: [HIDDEN],
    [`${at}mlp.gate_proj.weight`]: [WIDE, HIDDEN],
    [`${at}mlp.up_proj.weight`]: [WIDE, HIDDEN],
    [`${at}mlp.down_proj.weight`]: [HIDDEN, WIDE],
  });
  return {
    'model.embed_tokens.weight': [VOCABULARY.length, HIDDEN],
    ...layer('model.layers.0.'),
    ...layer('model.layers.1.'),
    'model.norm.weight': [HIDDEN],
  };
}

/** Writes the folder of a language model that answers yes or no, with random weights. */
export async function writeDecoder(folder: string, config: Config = {}): Promise<string> {
  await writeByteTokenizer(folder);
  return writeCheckpoint(folder, { ...QWEN3, ...config }, randomWeights(shapes()));
}
