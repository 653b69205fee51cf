import type { CalibrationFacts, ScoreMap } from '../../registry/calibration.ts';
import { probabilityOf } from '../../registry/calibration.ts';
import {
  calibrationError,
  fitLogistic,
  type Labeled,
  logistic,
  logLoss,
  poolAdjacentViolators,
  type ReliabilityBin,
  reliability,
} from '../../statistics/calibration.ts';
import { createRandom } from '../../util/random.ts';

export const METHODS = ['platt', 'isotonic'] as const;
export type Method = (typeof METHODS)[number];

/** The scores of a list, each with 1 for relevant or 0. */
export interface LabeledList extends Labeled {
  readonly qid: string;
  readonly scores: readonly number[];
  readonly labels: readonly number[];
}

/** Parts that lists are divided into: each is measured with a map that was fitted on the others. */
const FOLDS = 5;

const together = (lists: readonly LabeledList[]): { scores: number[]; labels: number[] } => ({
  scores: lists.flatMap(({ scores }) => scores),
  labels: lists.flatMap(({ labels }) => labels),
});

/** Returns how much a map was fitted or measured on. */
const sizeOf = (lists: readonly LabeledList[], labels: readonly number[]) => ({
  lists: lists.length,
  pairs: labels.length,
  relevant: labels.filter((label) => label === 1).length,
});

/** Fits points with the block values; those of 0 and 1 are moved in by half a pair, since no finite sample shows certainty. */
function fitIsotonic(labeled: Labeled): ScoreMap {
  const edge = 1 / (2 * labeled.scores.length);
  const blocks = poolAdjacentViolators(labeled);
  const values = blocks.map(({ value }) => Math.min(1 - edge, Math.max(edge, value)));
  return { method: 'isotonic', scores: blocks.map(({ score }) => score), probabilities: values };
}

const FITS: Readonly<Record<Method, (labeled: Labeled) => ScoreMap>> = {
  platt: (labeled) => ({ method: 'platt', ...fitLogistic(labeled) }),
  isotonic: fitIsotonic,
};

/** Returns the fold of each query: all its lists are in one. */
function foldsOf(lists: readonly LabeledList[]): ReadonlyMap<string, number> {
  const qids = createRandom(1).shuffle([...new Set(lists.map(({ qid }) => qid))].sort());
  return new Map(qids.map((qid, i) => [qid, i % FOLDS]));
}

/** Returns the probability of every pair by maps that were fitted without its query, in the order of `together`. */
function crossFitted(lists: readonly LabeledList[], method: Method): number[] {
  const folds = foldsOf(lists);
  const maps = Array.from({ length: FOLDS }, (_, fold) => {
    const others = lists.filter(({ qid }) => folds.get(qid) !== fold);
    return FITS[method](together(others));
  });
  return lists.flatMap(({ qid, scores }) => scores.map((score) => probabilityOf(maps[folds.get(qid)!]!, score)));
}

/** How good probabilities are. */
export interface Quality {
  readonly logLoss: number;
  readonly calibrationError: number;
  readonly bins: readonly ReliabilityBin[];
}

function qualityOf(probabilities: readonly number[], labels: readonly number[]): Quality {
  const bins = reliability(probabilities, labels);
  return { logLoss: logLoss(probabilities, labels), calibrationError: calibrationError(bins), bins };
}

/** The quality of a map on lists that it was not fitted on, beside that of the sigmoid. */
export interface CheckedCalibration extends Pick<CalibrationFacts, 'lists' | 'pairs' | 'relevant'> {
  readonly sigmoid: Quality;
  readonly map: Quality;
}

/** Measures a map on labeled lists. Lists that it was fitted on make it look better than it is. */
export function checkCalibration(lists: readonly LabeledList[], map: ScoreMap): CheckedCalibration {
  const { scores, labels } = together(lists);
  return {
    ...sizeOf(lists, labels),
    sigmoid: qualityOf(scores.map(logistic), labels),
    map: qualityOf(
      scores.map((score) => probabilityOf(map, score)),
      labels,
    ),
  };
}

export interface FittedCalibration extends Pick<CalibrationFacts, 'map' | 'lists' | 'pairs' | 'relevant'> {
  /** Of probabilities by the sigmoid, and of each method's on lists that it was not fitted on. */
  readonly before: Quality;
  readonly methods: Readonly<Record<Method, Quality>>;
}

/**
 * Fits each method by cross-validation over queries, takes the one with the lower log loss on the lists left out, and fits it on all.
 * @param only the method to take, whatever the loss.
 * @returns undefined where scores do not rise with relevance.
 */
export function fitCalibration(lists: readonly LabeledList[], only?: Method): FittedCalibration | undefined {
  const { scores, labels } = together(lists);
  if (!(fitLogistic({ scores, labels }).slope > 0)) return undefined;
  const methods = {
    platt: qualityOf(crossFitted(lists, 'platt'), labels),
    isotonic: qualityOf(crossFitted(lists, 'isotonic'), labels),
  };
  const best = methods.isotonic.logLoss < methods.platt.logLoss ? 'isotonic' : 'platt';
  return {
    map: FITS[only ?? best]({ scores, labels }),
    ...sizeOf(lists, labels),
    before: qualityOf(scores.map(logistic), labels),
    methods,
  };
}
