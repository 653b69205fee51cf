import { MOST_LAYERS } from './parts.ts';
import { BERT_FIELDS, type PostNormFamily, postNorm } from './post-norm.ts';
import type { Settings } from './settings.ts';

/** Spreads the layers over groups: those of one group have one set of weights. Source: `AlbertTransformer` of transformers. */
function layersOf(settings: Settings): readonly string[] {
  const layers = settings.bounded('num_hidden_layers', MOST_LAYERS);
  const groups = settings.stated('num_hidden_groups') ?? 1;
  if (groups > layers) throw settings.fault('num_hidden_groups', `at most ${layers}, one a layer`, String(groups));
  const inner = settings.bounded('inner_group_num', Math.floor(MOST_LAYERS / layers), 1);
  return Array.from({ length: layers }, (_, i) => Math.trunc(i / (layers / groups))).flatMap((group) =>
    Array.from({ length: inner }, (_, k) => `${group}.albert_layers.${k}`),
  );
}

/** ALBERT (Lan et al. 2020): layers share weights, and embeddings of a width of their own are projected. */
export const ALBERT: PostNormFamily = {
  prefix: 'albert.',
  tokenTypes: 'input',
  positions: 'row',
  head: { dense: 'albert.pooler', activation: 'tanh', out: 'classifier' },
  fields: BERT_FIELDS,
  activation: 'gelu_new',
  projection: { name: 'encoder.embedding_hidden_mapping_in', width: 128 },
  layersOf,
  names: {
    layers: 'encoder.albert_layer_groups.',
    query: 'attention.query',
    key: 'attention.key',
    value: 'attention.value',
    attended: 'attention.dense',
    middleNorm: 'attention.LayerNorm',
    up: 'ffn',
    down: 'ffn_output',
    lastNorm: 'full_layer_layer_norm',
  },
};

export const albert = postNorm(ALBERT);
