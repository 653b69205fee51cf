import { POOLING_MODES, type PoolingMode } from '../../util/pooling-modes.ts';
import type { GraphBuilder } from '../builder.ts';
import { LOWEST } from './parts.ts';

/*
 * How token states [batch, sequence, width] become one vector a row [batch, width]: the modes of sentence-transformers' Pooling. Padding has
 * no weight in any of them, so that a vector is the same in every batch.
 */

export const MASK_INPUT = 'attention_mask';
/** The types of tokens, which tell query from passage. */
export const TYPES_INPUT = 'token_type_ids';

/** Keeps the quotient finite for a row without tokens; that of sentence-transformers. */
const TINY = 1e-9;

/** The weight of each token, [batch, sequence, 1]. */
const maskColumn = (g: GraphBuilder): string => g.unsqueeze(g.cast(MASK_INPUT, 'float32'), [2]);

/** Counts the tokens of a row up to each one, from 1; 0 for padding. Left padding moves no token's number. */
function tokenNumbers(g: GraphBuilder, dtype: 'float32' | 'int64'): string {
  const mask = g.cast(MASK_INPUT, dtype);
  return g.mul(g.op('CumSum', [mask, g.scalar(1, 'int64')]), mask);
}

/**
 * Sums token states [batch, sequence, width] over the tokens, [batch, width], from the first to the last. The engine's ReduceSum and MatMul add in
 * an order that depends on the length of the batch, so that the last bits of a sum would depend on its company; zeros of padding change none here.
 */
export const tokenSum = (g: GraphBuilder, x: string): string =>
  g.gather(g.op('CumSum', [x, g.scalar(1, 'int64')]), g.scalar(-1, 'int64'), 1);

/** Σ weight · state, [batch, width]. */
const weighted = (g: GraphBuilder, x: string, weights: string): string => tokenSum(g, g.mul(x, weights));

/** Σ weight, [batch, 1], never 0. */
const total = (g: GraphBuilder, weights: string): string =>
  g.op('Max', [g.reduceSum(weights, [1], false), g.scalar(TINY)]);

/** The state of the token whose number is the highest. Numbers are integers: two tokens of a long row can have one number in float16. */
function lastToken(g: GraphBuilder, x: string): string {
  const numbers = tokenNumbers(g, 'int64');
  const isLast = g.equal(numbers, g.op('Max', [g.reduceMax(numbers, [1]), g.scalar(1, 'int64')]));
  // One weight is not 0, so that the order does not count.
  return g.reduceSum(g.mul(x, g.unsqueeze(g.cast(isLast, 'float32'), [2])), [1], false);
}

const MODES: Readonly<Record<PoolingMode, (g: GraphBuilder, x: string) => string>> = {
  cls: (g, x) => g.gather(x, g.scalar(0, 'int64'), 1),
  max: (g, x) => {
    const isText = g.cast(g.unsqueeze(MASK_INPUT, [2]), 'bool');
    return g.reduceMax(g.where(isText, x, g.scalar(LOWEST)), [1], false);
  },
  mean: (g, x) => {
    const mask = maskColumn(g);
    return g.div(weighted(g, x, mask), total(g, mask));
  },
  mean_sqrt_len_tokens: (g, x) => {
    const mask = maskColumn(g);
    return g.div(weighted(g, x, mask), g.sqrt(total(g, mask)));
  },
  weightedmean: (g, x) => {
    const weights = g.unsqueeze(tokenNumbers(g, 'float32'), [2]);
    return g.div(weighted(g, x, weights), total(g, weights));
  },
  lasttoken: lastToken,
};

/** Returns the mode of that name; undefined for another word. */
export const poolingMode = (word: unknown): PoolingMode | undefined => POOLING_MODES.find((mode) => mode === word);

/** Older files have one flag a mode; where several are set, their vectors follow each other in this order. */
export const POOLING_FLAGS: readonly (readonly [flag: string, mode: PoolingMode])[] = [
  ['pooling_mode_cls_token', 'cls'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_mean_tokens', 'mean'],
  ['pooling_mode_mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['pooling_mode_weightedmean_tokens', 'weightedmean'],
  ['pooling_mode_lasttoken', 'lasttoken'],
];

/** Appends pooling by one mode or by several, whose vectors follow each other. */
export function pool(g: GraphBuilder, x: string, modes: readonly PoolingMode[]): string {
  const parts = modes.map((mode) => MODES[mode](g, x));
  return parts.length === 1 ? parts[0]! : g.concat(parts, 1);
}
