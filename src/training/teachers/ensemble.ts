import { WinnowError } from '../../errors.ts';
import { standardized } from '../../util/standardize.ts';

/** Teacher scores of one list. */
export interface ScoredList {
  readonly qid: string;
  readonly docids: readonly string[];
  readonly scores: readonly number[];
  /** Passages whose text was cut, and whether the query's was; absent for 0 and no. */
  readonly cut?: number;
  readonly queryCut?: true;
}

/** How the scores of several teachers are scaled before their mean is taken, per list. */
export const NORMALIZATIONS = ['none', 'z', 'min-max'] as const;
export type Normalization = (typeof NORMALIZATIONS)[number];

const RULES: Readonly<Record<Normalization, (scores: readonly number[]) => readonly number[]>> = {
  none: (scores) => scores,
  z: standardized,
  'min-max'(scores) {
    const [low, high] = [Math.min(...scores), Math.max(...scores)];
    return scores.map((s) => (high > low ? (s - low) / (high - low) : 0));
  },
};

/** Returns the scores of a list on the scale of a normalization. */
export const normalized = (scores: readonly number[], normalization: Normalization): readonly number[] =>
  RULES[normalization](scores);

/**
 * Returns the mean of several teachers' scores of one list. Without normalization it is the mean of raw logits, as in the teacher ensemble
 * of Hofstätter et al. 2020; use `z` for teachers of different scales, such as a cosine and a logit.
 * @throws WinnowError `invalid_input` where the teachers scored different passages.
 */
export function meanScores(parts: readonly ScoredList[], normalization: Normalization = 'none'): ScoredList {
  const [first] = parts;
  if (!first || parts.some((part) => part.qid !== first.qid || part.docids.join('\n') !== first.docids.join('\n')))
    throw new WinnowError('invalid_input', {
      where: 'mean of teachers',
      expected: 'the same passages from every teacher',
      got: parts.map((part) => `${part.docids.length} of query ${part.qid}`).join(', '),
    });
  const scaled = parts.map((part) => normalized(part.scores, normalization));
  return {
    qid: first.qid,
    docids: first.docids,
    scores: first.docids.map((_, i) => scaled.reduce((sum, scores) => sum + scores[i]!, 0) / parts.length),
  };
}
