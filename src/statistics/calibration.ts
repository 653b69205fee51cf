import { mean, variance } from './samples.ts';

/*
 * Maps from scores to probabilities. Platt 1999 fits a logistic curve, isotonic regression (Zadrozny & Elkan 2002) the best rising step
 * function, by pooling adjacent violators. Labels are 1 (relevant) and 0.
 */

/** Scores and their labels, in the same order. */
export interface Labeled {
  readonly scores: ArrayLike<number>;
  /** 0 or 1 each. */
  readonly labels: ArrayLike<number>;
}

/** Scores in a row that have one value in the best rising step function. */
interface Block {
  /** Mean score. */
  readonly score: number;
  /** Mean label. */
  readonly value: number;
  readonly count: number;
}

const merge = (a: Block, b: Block): Block => {
  const count = a.count + b.count;
  return {
    score: (a.score * a.count + b.score * b.count) / count,
    value: (a.value * a.count + b.value * b.count) / count,
    count,
  };
};

/** Returns one block a distinct score, by rising score: equal scores cannot have different values. */
function distinct({ scores, labels }: Labeled): Block[] {
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  const blocks: Block[] = [];
  for (const i of order) {
    const last = blocks.at(-1);
    const one = { score: scores[i]!, value: labels[i]!, count: 1 };
    if (last?.score === one.score) blocks[blocks.length - 1] = { ...merge(last, one), score: one.score };
    else blocks.push(one);
  }
  return blocks;
}

/**
 * Returns the rising step function with the least squared error, as blocks of rising score and value. No two blocks have one value: neighbors of
 * equal values are one.
 */
export function poolAdjacentViolators(labeled: Labeled): Block[] {
  const pooled: Block[] = [];
  for (const block of distinct(labeled)) {
    let last = block;
    while (pooled.length > 0 && pooled.at(-1)!.value >= last.value) last = merge(pooled.pop()!, last);
    pooled.push(last);
  }
  return pooled;
}

/** A logistic curve: the probability at score s is 1 / (1 + exp(−(slope · s + intercept))). */
interface Logistic {
  readonly slope: number;
  readonly intercept: number;
}

/** ln(1 + exp(x)), without overflow. */
const softplus = (x: number): number => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x)));
export const logistic = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

const ROUNDS = 200;
const HALVINGS = 40;

/** Returns loss, gradient and Hessian of a logistic curve at targets. */
function derivatives(x: Float64Array, targets: Float64Array, slope: number, intercept: number) {
  const sums = { loss: 0, slope: 0, intercept: 0, ss: 0, si: 0, ii: 0 };
  for (let i = 0; i < x.length; i++) {
    const at = slope * x[i]! + intercept;
    const p = logistic(at);
    const error = p - targets[i]!;
    const weight = p * (1 - p);
    sums.loss += softplus(at) - targets[i]! * at;
    sums.slope += error * x[i]!;
    sums.intercept += error;
    sums.ss += weight * x[i]! * x[i]!;
    sums.si += weight * x[i]!;
    sums.ii += weight;
  }
  return sums;
}

/** Minimizes the log loss by Newton steps, each halved until the loss falls. The loss is convex. */
function minimize(x: Float64Array, targets: Float64Array, start: Logistic): Logistic {
  let { slope, intercept } = start;
  for (let round = 0; round < ROUNDS; round++) {
    const now = derivatives(x, targets, slope, intercept);
    // A small ridge: without spread of the scores the Hessian is singular.
    const [ss, ii] = [now.ss + 1e-10, now.ii + 1e-10];
    const determinant = ss * ii - now.si * now.si;
    const toSlope = (ii * now.slope - now.si * now.intercept) / determinant;
    const toIntercept = (ss * now.intercept - now.si * now.slope) / determinant;
    if (Math.abs(toSlope) + Math.abs(toIntercept) < 1e-12) break;
    let part = 1;
    for (let halving = 0; halving < HALVINGS; halving++, part /= 2)
      if (derivatives(x, targets, slope - part * toSlope, intercept - part * toIntercept).loss < now.loss) break;
    slope -= part * toSlope;
    intercept -= part * toIntercept;
  }
  return { slope, intercept };
}

/**
 * Fits a logistic curve to labels by maximum likelihood, with Platt's targets: (r + 1) / (r + 2) for the r relevant ones and 1 / (o + 2) for the o
 * others, so that the curve stays finite where scores separate them.
 */
export function fitLogistic({ scores, labels }: Labeled): Logistic {
  const relevant = Array.from(labels).filter((label) => label === 1).length;
  const others = labels.length - relevant;
  const [high, low] = [(relevant + 1) / (relevant + 2), 1 / (others + 2)];
  const targets = Float64Array.from(labels, (label) => (label === 1 ? high : low));
  const middle = mean(scores);
  const spread = Math.sqrt(variance(scores)) || 1;
  const x = Float64Array.from(scores, (score) => (score - middle) / spread);
  const start = { slope: 0, intercept: Math.log((relevant + 1) / (others + 1)) };
  const { slope, intercept } = minimize(x, targets, start);
  return { slope: slope / spread, intercept: intercept - (slope * middle) / spread };
}

/** Bounds the loss of a probability of 0 or 1 that is wrong; scikit-learn's for 64-bit numbers. */
const SMALLEST = 2 ** -52;

/** Returns the mean −ln of the probability of what is the case. */
export function logLoss(probabilities: ArrayLike<number>, labels: ArrayLike<number>): number {
  const losses = Float64Array.from(probabilities, (p, i) => {
    const bounded = Math.min(1 - SMALLEST, Math.max(SMALLEST, p));
    return -Math.log(labels[i] === 1 ? bounded : 1 - bounded);
  });
  return mean(losses);
}

/** Pairs whose probabilities lie in one tenth (or another part) of 0 to 1. */
export interface ReliabilityBin {
  /** Mean probability, and the part that is relevant. */
  readonly predicted: number;
  readonly observed: number;
  readonly count: number;
}

/** Groups probabilities into parts of 0 to 1 of equal width; empty ones are left out. */
export function reliability(probabilities: ArrayLike<number>, labels: ArrayLike<number>, bins = 10): ReliabilityBin[] {
  const sums = Array.from({ length: bins }, () => ({ predicted: 0, observed: 0, count: 0 }));
  Array.from(probabilities).forEach((p, i) => {
    const sum = sums[Math.min(bins - 1, Math.floor(p * bins))]!;
    sum.predicted += p;
    sum.observed += labels[i]!;
    sum.count++;
  });
  return sums
    .filter(({ count }) => count > 0)
    .map(({ predicted, observed, count }) => ({ predicted: predicted / count, observed: observed / count, count }));
}

/** Returns the mean distance between predicted and observed, weighted by the pairs of a bin (Guo et al. 2017). */
export function calibrationError(bins: readonly ReliabilityBin[]): number {
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  return bins.reduce(
    (sum, { predicted, observed, count }) => sum + (count / total) * Math.abs(predicted - observed),
    0,
  );
}
