import { BERT_FIELDS, BERT_NAMES, postNorm } from './post-norm.ts';

/** BERT (Devlin et al. 2019): token types are an input, and a pooler stands before the classifier. */
export const bert = postNorm({
  prefix: 'bert.',
  tokenTypes: 'input',
  positions: 'row',
  head: { dense: 'bert.pooler.dense', activation: 'tanh', out: 'classifier' },
  fields: BERT_FIELDS,
  names: BERT_NAMES,
});
