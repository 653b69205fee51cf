import { ALBERT } from '../architectures/albert.ts';
import { BERT } from '../architectures/bert.ts';
import type { Checkpoint } from '../architectures/checkpoint.ts';
import { DISTILBERT } from '../architectures/distilbert.ts';
import { ELECTRA } from '../architectures/electra.ts';
import { MPNET } from '../architectures/mpnet.ts';
import { LOWEST, type Parts, rowPositions } from '../architectures/parts.ts';
import { tokenSum } from '../architectures/pooling.ts';
import type { PostNormFamily } from '../architectures/post-norm.ts';
import { ROBERTA } from '../architectures/roberta.ts';
import type { GraphBuilder } from '../builder.ts';
import type { InteractionSettings } from './settings.ts';

/** The encoders that interaction models are built on, by `model_type` of config.json: those whose layers are appended one by one. */
const FAMILIES: ReadonlyMap<string, PostNormFamily> = new Map([
  ['albert', ALBERT],
  ['bert', BERT],
  ['camembert', ROBERTA],
  ['distilbert', DISTILBERT],
  ['electra', ELECTRA],
  ['mpnet', MPNET],
  ['roberta', ROBERTA],
  ['xlm-roberta', ROBERTA],
]);

/** Returns the family of a checkpoint. @throws WinnowError `invalid_input` for another one. */
export function familyOf({ settings }: Pick<Checkpoint, 'settings'>): PostNormFamily {
  const type = String(settings.get('model_type'));
  const found = FAMILIES.get(type);
  if (found) return found;
  throw settings.fault('model_type', `one of ${[...FAMILIES.keys()].join(', ')}`, `model_type ${type.slice(0, 80)}`);
}

/** Names of the inputs and outputs of both graphs. */
export const STATES = 'states';
export const SCALES = 'scales';
export const VECTOR = 'vector';

/** Shortest length and smallest weight that is divided by. */
const TINY = 1e-12;

/**
 * Dot product of the rows of two matrices [batch, width], [batch, 1]. A product of one row with one column adds in an order that the number of rows
 * does not change, which ReduceSum does not promise.
 */
export function rowDot(g: GraphBuilder, a: string, b: string): string {
  return g.squeeze(g.matmul(g.unsqueeze(a, [1]), g.unsqueeze(b, [2])), [2]);
}

/** Divides rows by their Euclidean length. */
const unitRows = (g: GraphBuilder, x: string): string =>
  g.div(x, g.op('Max', [g.sqrt(rowDot(g, x, x)), g.scalar(TINY)]));

/**
 * Returns the unit vector of token states [batch, sequence, hidden]; of `cls` pooling the states may be the first token's alone.
 * @param mask int64 [batch, sequence], 1 where a token is no padding.
 */
export function textVector(
  g: GraphBuilder,
  x: string,
  mask: string,
  pooling: InteractionSettings['pooling'],
): { readonly pooled: string; readonly unit: string } {
  const pooled = pooling === 'cls' ? firstToken(g, x) : meanOf(g, x, mask);
  return { pooled, unit: unitRows(g, pooled) };
}

export const firstToken = (g: GraphBuilder, x: string): string => g.gather(x, g.scalar(0, 'int64'), 1);

function meanOf(g: GraphBuilder, x: string, mask: string): string {
  const weights = g.cast(mask, 'float32');
  const total = g.op('Max', [g.reduceSum(weights, [1]), g.scalar(TINY)]);
  return g.div(tokenSum(g, g.mul(x, g.unsqueeze(weights, [2]))), total);
}

/** Bias that keeps query tokens, the first one excepted, from looking at the first, [1, 1, sequence, sequence]. */
export function awayFromFirst(parts: Parts): string {
  const { g } = parts;
  const zero = g.scalar(0, 'int64');
  const positions = rowPositions(parts);
  const isKey = g.unsqueeze(g.equal(positions, zero), [0, 1, 2]);
  const isOther = g.unsqueeze(g.greater(positions, zero), [0, 1, 3]);
  return g.where(g.op('And', [isKey, isOther]), g.scalar(LOWEST), g.scalar(0));
}
