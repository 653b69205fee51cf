import { formatScore } from '../../src/http/scores.ts';
import { fakeLogit } from './fakes.ts';

/* A query with passages, and how the fake re-ranker ranks them. */

export const QUERY = 'what is a panda?';
export const PASSAGES = ['hi', 'The giant panda is a bear.', 'A kitten plays with yarn.', 'Paris is in France.'];

/** The passages sorted by the fake's logits. */
export const ranked = PASSAGES.map((text, index) => ({ index, text, logit: fakeLogit(QUERY, text) })).sort(
  (a, b) => b.logit - a.logit,
);

/** The number a client reads for a score. */
export const asFloat32 = (x: number) => Number(formatScore(x));
