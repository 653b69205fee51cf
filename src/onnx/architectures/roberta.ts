import { BERT_FIELDS, BERT_NAMES, type PostNormFamily, postNorm } from './post-norm.ts';

/** RoBERTa (Liu et al. 2019), and XLM-RoBERTa and CamemBERT, which differ in tokenizer and training only. */
export const ROBERTA: PostNormFamily = {
  prefix: 'roberta.',
  tokenTypes: 'zero',
  positions: 'tokens',
  head: { dense: 'classifier.dense', activation: 'tanh', out: 'classifier.out_proj' },
  fields: BERT_FIELDS,
  names: BERT_NAMES,
};

export const roberta = postNorm(ROBERTA);
