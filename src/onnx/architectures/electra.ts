import { BERT_FIELDS, BERT_NAMES, type PostNormFamily, postNorm } from './post-norm.ts';

/** ELECTRA's discriminator (Clark et al. 2020): embeddings may be narrower than the layers and are projected then. */
export const ELECTRA: PostNormFamily = {
  prefix: 'electra.',
  tokenTypes: 'input',
  positions: 'row',
  head: { dense: 'classifier.dense', activation: 'gelu', out: 'classifier.out_proj' },
  fields: BERT_FIELDS,
  names: BERT_NAMES,
};

export const electra = postNorm(ELECTRA);
