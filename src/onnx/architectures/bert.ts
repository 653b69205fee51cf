import { BERT_FIELDS, BERT_NAMES, type PostNormFamily, postNorm } from './post-norm.ts';

/** BERT (Devlin et al. 2019): token types are an input, and a pooler stands before the classifier. */
export const BERT: PostNormFamily = {
  prefix: 'bert.',
  tokenTypes: 'input',
  positions: 'row',
  head: { dense: 'bert.pooler.dense', activation: 'tanh', out: 'classifier' },
  fields: BERT_FIELDS,
  names: BERT_NAMES,
};

export const bert = postNorm(BERT);
