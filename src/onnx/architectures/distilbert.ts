import { type PostNormFamily, postNorm } from './post-norm.ts';

/** DistilBERT (Sanh et al. 2019): BERT without token types and pooler, under names of its own. */
export const DISTILBERT: PostNormFamily = {
  prefix: 'distilbert.',
  tokenTypes: 'none',
  positions: 'row',
  head: { dense: 'pre_classifier', activation: 'relu', out: 'classifier' },
  fields: { hidden: 'dim', heads: 'n_heads', layers: 'n_layers', wide: 'hidden_dim', activation: 'activation' },
  names: {
    layers: 'transformer.layer.',
    query: 'attention.q_lin',
    key: 'attention.k_lin',
    value: 'attention.v_lin',
    attended: 'attention.out_lin',
    middleNorm: 'sa_layer_norm',
    up: 'ffn.lin1',
    down: 'ffn.lin2',
    lastNorm: 'output_layer_norm',
  },
};

export const distilbert = postNorm(DISTILBERT);
