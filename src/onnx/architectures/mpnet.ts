import { int64s } from '../tensor.ts';
import { lookUp, type Parts, rowPositions } from './parts.ts';
import { BERT_FIELDS, BERT_NAMES, type PostNormFamily, postNorm } from './post-norm.ts';

/** What the reference implementation passes for the number of buckets, whatever config.json says of the table's rows. */
const BUCKETS = 32;
/** Tokens further apart than this share a bucket. */
const FURTHEST = 128;

/**
 * Returns the bucket of an offset (key's position − query's): one each for near tokens, then ever wider ones, and the upper half of the
 * table for keys behind the query. The quotient is rounded to float32 at each step, as PyTorch computes it.
 * Source: `relative_position_bucket` of transformers' MPNet (after T5, Raffel et al. 2020).
 */
function bucketOf(offset: number): number {
  const side = BUCKETS / 2;
  const exact = side / 2;
  const from = offset > 0 ? side : 0;
  const distance = Math.abs(offset);
  if (distance < exact) return from + distance;
  const share = Math.fround(Math.fround(Math.log(distance / exact)) / Math.fround(Math.log(FURTHEST / exact)));
  return from + Math.min(side - 1, exact + Math.trunc(Math.fround(share * (side - exact))));
}

/** Looks up the bias of each pair of positions in a table [buckets, heads] that all layers share. */
function relativeBias(parts: Parts, at: string, heads: number): string {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const rows = settings.stated('relative_attention_num_buckets') ?? BUCKETS;
  if (rows < BUCKETS) throw settings.fault('relative_attention_num_buckets', `${BUCKETS} or more`, String(rows));
  const positions = rowPositions(parts);
  const offsets = g.sub(g.unsqueeze(positions, [0]), g.unsqueeze(positions, [1]));
  const limit = g.scalar(FURTHEST, 'int64');
  const near = g.op('Clip', [offsets, g.scalar(-FURTHEST, 'int64'), limit]);
  const buckets = int64s(Array.from({ length: 2 * FURTHEST + 1 }, (_, i) => bucketOf(i - FURTHEST)));
  const found = g.gather(g.constant(buckets, 'buckets'), g.add(near, limit));
  return g.transpose(lookUp(parts, `${at}encoder.relative_attention_bias.weight`, [rows, heads], found), [2, 0, 1]);
}

/** MPNet (Song et al. 2020): no token types, and attention scores have a bias by the distance of the two tokens. */
export const MPNET: PostNormFamily = {
  prefix: 'mpnet.',
  tokenTypes: 'none',
  positions: 'tokens',
  padding: 1,
  head: { dense: 'classifier.dense', activation: 'tanh', out: 'classifier.out_proj' },
  fields: BERT_FIELDS,
  names: {
    ...BERT_NAMES,
    query: 'attention.attn.q',
    key: 'attention.attn.k',
    value: 'attention.attn.v',
    attended: 'attention.attn.o',
    middleNorm: 'attention.LayerNorm',
  },
  scoreBias: relativeBias,
};

export const mpnet = postNorm(MPNET);
