/** A model whose speed is measured, with random weights: speed does not depend on them. */
export interface BackboneShape {
  readonly name: string;
  /** config.json at real size, without the fields that are the default of transformers. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What a training step changes: all weights, or adapters beside frozen ones. */
  readonly trains: 'all' | 'adapters';
}

const bertLike = (model_type: string, hidden: number, more: Readonly<Record<string, unknown>> = {}) => ({
  model_type,
  vocab_size: 30_522,
  hidden_size: hidden,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 4 * hidden,
  ...more,
});

/** Sizes of the Ettin encoders: arXiv 2507.11412, table 1. */
const ettin = (hidden: number, layers: number, wide: number) => ({
  model_type: 'modernbert',
  vocab_size: 50_368,
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: hidden / 64,
  intermediate_size: wide,
  max_position_embeddings: 7999,
});

const DEBERTA_V3 = bertLike('deberta-v2', 768, {
  vocab_size: 128_100,
  type_vocab_size: 0,
  relative_attention: true,
  position_buckets: 256,
  max_relative_positions: -1,
  pos_att_type: ['p2c', 'c2p'],
  norm_rel_ebd: 'layer_norm',
  share_att_key: true,
  position_biased_input: false,
  layer_norm_eps: 1e-7,
});

const QWEN3 = {
  model_type: 'qwen3',
  vocab_size: 151_669,
  hidden_size: 1024,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  intermediate_size: 3072,
  tie_word_embeddings: true,
};

const trained = (name: string, config: BackboneShape['config']): BackboneShape => ({ name, config, trains: 'all' });

/** The nine backbones of arXiv 2603.03010, smallest first, and a decoder. */
export const BACKBONES: readonly BackboneShape[] = [
  trained('ettin-17m', ettin(256, 7, 384)),
  trained('ettin-32m', ettin(384, 10, 576)),
  trained('minilm-l12', bertLike('bert', 384)),
  trained('ettin-68m', ettin(512, 19, 768)),
  trained('bert-base', bertLike('bert', 768)),
  trained('electra-base', bertLike('electra', 768, { embedding_size: 768 })),
  trained(
    'roberta-base',
    bertLike('roberta', 768, { vocab_size: 50_265, max_position_embeddings: 514, type_vocab_size: 1 }),
  ),
  trained('ettin-150m', ettin(768, 22, 1152)),
  trained('deberta-v3-base', DEBERTA_V3),
  { name: 'qwen3-0.6b', config: QWEN3, trains: 'adapters' },
];
