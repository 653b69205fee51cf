import { WinnowError } from '../../errors.ts';
import { rankBiasedOverlap } from '../../statistics/rank-correlation.ts';
import type { MeasureParams } from './params.ts';
import { POOLED, type RankedQuery, relevantCount, relevantRetrieved } from './ranked.ts';

/** Computes one measure of one query. A ratio whose denominator is 0 is 0. */
export type Calculator = (query: RankedQuery, params: MeasureParams) => number;

const ratio = (a: number, b: number): number => (b > 0 ? a / b : 0);
const depth = (query: RankedQuery, cutoff: number | undefined): number =>
  Math.min(cutoff ?? query.grades.length, query.grades.length);

/**
 * Returns the gain of a grade: the grade itself (trec_eval), 2^grade − 1 (`gains=exp`; Burges et al. 2005), or an entry of a table whose
 * missing grades stay linear (trec_eval's `ndcg.1=3.5`). Unjudged documents have gain 0.
 */
function gainOf(grade: number, gains: MeasureParams['gains']): number {
  if (grade < 0) return 0;
  if (gains === 'exp') return 2 ** grade - 1;
  return gains === 'linear' ? grade : (gains.get(grade) ?? grade);
}

function idealDcg(query: RankedQuery, cutoff: number, gains: MeasureParams['gains']): number {
  const steps = Array.from(query.levels, (count, grade) => ({ count, gain: gainOf(grade, gains) }))
    .filter(({ count, gain }) => count > 0 && gain > 0)
    .sort((a, b) => b.gain - a.gain);
  let sum = 0;
  let rank = 0;
  for (const { count, gain } of steps)
    for (let i = 0; i < count && rank < cutoff; i++) sum += gain / Math.log2(++rank + 1);
  return sum;
}

/** Järvelin and Kekäläinen 2002, discount 1 / log2(rank + 1); the ideal ranking has all judged documents of the query, cut at k. */
export const nDCG: Calculator = (query, { cutoff, gains }) => {
  const ideal = idealDcg(query, cutoff ?? Number.POSITIVE_INFINITY, gains);
  let sum = 0;
  const stop = depth(query, cutoff);
  for (let i = 0; i < stop; i++) {
    const gain = gainOf(query.grades[i]!, gains);
    if (gain !== 0) sum += gain / Math.log2(i + 2);
  }
  return ratio(sum, ideal);
};

export const reciprocalRank: Calculator = (query, { cutoff, rel }) => {
  const stop = depth(query, cutoff);
  for (let i = 0; i < stop; i++) if (query.grades[i]! >= rel) return 1 / (i + 1);
  return 0;
};

/** Averages precision over all relevant documents; those below a cutoff count 0 (trec_eval's map_cut). */
export const averagePrecision: Calculator = (query, { cutoff, rel }) => {
  let found = 0;
  let sum = 0;
  const stop = depth(query, cutoff);
  for (let i = 0; i < stop; i++) if (query.grades[i]! >= rel) sum += ++found / (i + 1);
  return ratio(sum, relevantCount(query, rel));
};

export const success: Calculator = (query, { cutoff, rel }) => (relevantRetrieved(query, rel, cutoff) > 0 ? 1 : 0);

/** Divides by the cutoff even if fewer documents were retrieved. */
export const precision: Calculator = (query, { cutoff, rel }) => ratio(relevantRetrieved(query, rel, cutoff), cutoff!);

export const recall: Calculator = (query, { cutoff, rel }) =>
  ratio(relevantRetrieved(query, rel, cutoff), relevantCount(query, rel));

export const rPrecision: Calculator = (query, { rel }) => {
  const relevant = relevantCount(query, rel);
  return ratio(relevantRetrieved(query, rel, relevant), relevant);
};

/** Returns the share of the first k documents that carry a judgement; a shorter ranking is divided by its own length. */
export const judged: Calculator = (query, { cutoff }) =>
  ratio(relevantRetrieved(query, 0, cutoff), depth(query, cutoff));

/** Buckley and Voorhees 2004, as trec_eval bounds it: min(nonrelevant above, R) / min(N, R). */
export const bpref: Calculator = (query, { rel }) => {
  const relevant = relevantCount(query, rel);
  const nonRelevant = relevantCount(query, 0) - relevant;
  let above = 0;
  let sum = 0;
  for (const grade of query.grades) {
    if (grade >= rel) sum += above === 0 ? 1 : 1 - Math.min(above, relevant) / Math.min(nonRelevant, relevant);
    else if (grade >= 0) above++;
  }
  return ratio(sum, relevant);
};

/** Returns the greatest precision at any rank with a recall of at least `recall`; the number of documents is rounded as in trec_eval. */
export const interpolatedPrecision: Calculator = (query, { recall: wanted, rel }) => {
  const needed = Math.floor(wanted! * relevantCount(query, rel) + 0.9);
  let best = 0;
  for (let i = query.grades.length - 1, found = relevantRetrieved(query, rel); i >= 0 && found >= needed; i--) {
    best = Math.max(best, found / (i + 1));
    if (query.grades[i]! >= rel) found--;
  }
  return best;
};

/** Moffat and Zobel 2008, binary: (1 − p) Σ p^(rank − 1) over relevant documents. */
export const rankBiasedPrecision: Calculator = (query, { cutoff, rel, p }) => {
  let weight = 1 - p!;
  let sum = 0;
  const stop = depth(query, cutoff);
  for (let i = 0; i < stop; i++, weight *= p!) if (query.grades[i]! >= rel) sum += weight;
  return sum;
};

/** Harmonic mean of precision and recall at k. */
export const f1: Calculator = (query, params) => {
  const [p, r] = [precision(query, params), recall(query, params)];
  return ratio(2 * p * r, p + r);
};

/**
 * Expected reciprocal rank (Chapelle et al. 2009) as TREC's gdeval computes it: a document of grade g satisfies with the probability
 * (2^g − 1) / 2^maxRel.
 *
 * @throws WinnowError `invalid_input` for a judgement above `maxRel`, as gdeval.
 */
export const expectedReciprocalRank: Calculator = (query, { cutoff, maxRel }) => {
  const top = query.levels.length - 1;
  if (top > maxRel!)
    throw new WinnowError('invalid_input', {
      where: 'measure ERR',
      expected: `grades of at most ${maxRel}, or the greatest grade of the scale, as in ERR(max_rel=${top})@20`,
      got: `${top}`,
    });
  let sum = 0;
  let goesOn = 1;
  const stop = depth(query, cutoff);
  for (let i = 0; i < stop; i++) {
    const satisfied = (2 ** Math.max(query.grades[i]!, 0) - 1) / 2 ** maxRel!;
    sum += (goesOn * satisfied) / (i + 1);
    goesOn *= 1 - satisfied;
  }
  return sum;
};

/** Averages interpolated precision at recall 0, 0.1 … 1 (trec_eval's 11pt_avg). */
export const interpolatedAverage: Calculator = (query, params) => {
  let sum = 0;
  for (let tenth = 0; tenth <= 10; tenth++) sum += interpolatedPrecision(query, { ...params, recall: tenth / 10 });
  return sum / 11;
};

/** Keeps the shares of judged documents from 0, as in trec_eval. */
const INFAP_EPSILON = 0.00001;

/**
 * Inferred average precision (Yilmaz and Aslam 2006) for pools that were judged in part: negative grades mark pooled documents that were
 * not drawn.
 */
export const inferredAveragePrecision: Calculator = (query, { rel }) => {
  let [relevant, nonRelevant, pooled, sum] = [0, 0, 0, 0];
  query.grades.forEach((grade, above) => {
    if (grade === POOLED) pooled++;
    else if (grade >= 0 && grade < rel) nonRelevant++;
    else if (grade >= rel) {
      const share = (relevant + INFAP_EPSILON) / (relevant + nonRelevant + 2 * INFAP_EPSILON);
      sum += above === 0 ? 1 : (1 + (relevant + nonRelevant + pooled) * share) / (above + 1);
      relevant++;
    }
  });
  return ratio(sum, relevantCount(query, rel));
};

export const setPrecision: Calculator = (query, { rel }) => ratio(relevantRetrieved(query, rel), query.grades.length);
export const setRecall: Calculator = (query, { rel }) =>
  ratio(relevantRetrieved(query, rel), relevantCount(query, rel));

/** Set precision times set recall. */
export const setAveragePrecision: Calculator = (query, params) =>
  setPrecision(query, params) * setRecall(query, params);

/** trec_eval's set_F: (x + 1) P R / (R + x P), where `beta` is x itself, not its root. */
export const setF: Calculator = (query, params) => {
  const p = setPrecision(query, params);
  const r = setRecall(query, params);
  return ratio((params.beta! + 1) * p * r, r + params.beta! * p);
};

export const retrievedCount: Calculator = (query, { rel }) =>
  rel === Number.NEGATIVE_INFINITY ? query.grades.length : relevantRetrieved(query, rel);
export const judgedRelevantCount: Calculator = (query, { rel }) => relevantCount(query, rel);
export const one: Calculator = () => 1;

/** Sums p^(d−1) overlap(d) / d over depths, for documents that enter the overlap at the given depths (0-based, unsorted). */
function discountedOverlap(entries: readonly number[], length: number, p: number): number {
  const joins = new Int32Array(length);
  for (const entry of entries) joins[entry]!++;
  let overlap = 0;
  let weight = 1;
  let sum = 0;
  for (let i = 0; i < length; i++, weight *= p) {
    overlap += joins[i]!;
    sum += (weight * overlap) / (i + 1);
  }
  return sum;
}

/**
 * Returns the rank-biased overlap with the ideal ranking, divided by the ideal's own value (Clarke, Vtyurina and Smucker 2021). Equally
 * graded documents stand in the ideal in the order of the run, so ties between grades cost nothing.
 */
export const compatibility: Calculator = (query, { p }) => {
  const relevant = relevantCount(query, 1);
  if (relevant === 0) return 0;
  const next = new Int32Array(query.levels.length);
  for (let level = next.length - 2; level >= 0; level--) next[level] = next[level + 1]! + query.levels[level + 1]!;
  const entries: number[] = [];
  query.grades.forEach((grade, rank) => {
    if (grade > 0) entries.push(Math.max(rank, next[grade]!++));
  });
  const length = Math.max(query.grades.length, relevant);
  const ideal = Array.from({ length: relevant }, (_, i) => i);
  return discountedOverlap(entries, length, p!) / discountedOverlap(ideal, length, p!);
};

/** Returns the extrapolated overlap with the reference run if there is one, else compatibility with the ideal ranking. */
export const overlap: Calculator = (query, params) =>
  query.reference === undefined
    ? compatibility(query, params)
    : rankBiasedOverlap(query.docids(), query.reference, params.p!);
