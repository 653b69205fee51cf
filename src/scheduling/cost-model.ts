/*
 * What a batch costs, learned while serving: time ≈ a + b·tokens + c·Σlen², tokens and lengths as the engine sees them, that is padded.
 * a is what any batch pays (dispatch, kernel launches), b the linear layers, c the attention.
 */

/** Milliseconds a batch, a padded token, a squared padded length. None is negative. */
export interface Cost {
  readonly fixed: number;
  readonly perToken: number;
  readonly perSquare: number;
}

/** One batch that ran: `tokens` = rows × length, `squares` = rows × length², `ms` its wall time. */
export interface Observation {
  readonly tokens: number;
  readonly squares: number;
  readonly ms: number;
}

/** Before the first observation: a small encoder on one core. Wrong by a factor of ten it still only shifts the first few decisions. */
export const PRIOR: Cost = { fixed: 1, perToken: 0.05, perSquare: 2e-5 };

export interface CostModelOptions {
  readonly prior?: Cost;
  /** Weight an observation keeps when the next one comes; .99 remembers about a hundred batches. */
  readonly forgetting?: number;
}

export interface CostModel {
  observe(observation: Observation): void;
  /** The present estimate. */
  cost(): Cost;
  readonly observations: number;
}

/** Predicted milliseconds of `rows` rows padded to `length` tokens. */
export function batchMs(cost: Cost, rows: number, length: number): number {
  return cost.fixed + rows * length * (cost.perToken + cost.perSquare * length);
}

/** How much the prior weighs, in observations; it holds the directions that the traffic never varies. */
const RIDGE = 1e-6;

/**
 * After this many batches one that took much longer (a host that died, a machine that paused), or much shorter (answers that lay waiting
 * while this process did, and then came all at once), counts only as `OUTLIER` times its estimate, or the same part of it. On relative
 * errors a time near zero would otherwise outweigh all others.
 */
export const TRUSTED = 8;
const OUTLIER = 4;

/** The subsets of three unknowns that may be non-zero, all of them first. */
const ACTIVE_SETS: readonly (readonly number[])[] = [[0, 1, 2], [1, 2], [0, 1], [0, 2], [1], [2], [0]];

/** Solves the symmetric positive system restricted to `active`, by Cramer's rule on at most 3 × 3; the others stay 0. */
function solveActive(matrix: Float64Array, right: Float64Array, active: readonly number[]): Float64Array {
  const size = active.length;
  const rows = active.map((i) => [...active.map((j) => matrix[3 * i + j]!), right[i]!]);
  for (let i = 0; i < size; i++)
    for (let k = 0; k < size; k++) {
      if (k === i) continue;
      const factor = rows[k]![i]! / rows[i]![i]!;
      for (let j = i; j <= size; j++) rows[k]![j]! -= factor * rows[i]![j]!;
    }
  const solution = new Float64Array(3);
  active.forEach((unknown, i) => {
    solution[unknown] = rows[i]![size]! / rows[i]![i]!;
  });
  return solution;
}

/** ½ xᵀAx − vᵀx: what least squares minimizes, up to a constant. */
function objective(matrix: Float64Array, right: Float64Array, x: Float64Array): number {
  let value = 0;
  for (let i = 0; i < 3; i++) {
    let row = 0;
    for (let j = 0; j < 3; j++) row += matrix[3 * i + j]! * x[j]!;
    value += x[i]! * (row / 2 - right[i]!);
  }
  return value;
}

/** Least squares under x ≥ 0, exact: with three unknowns every set of free ones can be tried. */
function solveNonNegative(matrix: Float64Array, right: Float64Array): Float64Array {
  const free = solveActive(matrix, right, ACTIVE_SETS[0]!);
  if (free.every((x) => x >= 0)) return free;
  let best: Float64Array = new Float64Array(3);
  let least = 0;
  for (const active of ACTIVE_SETS.slice(1)) {
    const candidate = solveActive(matrix, right, active);
    if (candidate.some((x) => !(x >= 0))) continue;
    const value = objective(matrix, right, candidate);
    if (value < least) [best, least] = [candidate, value];
  }
  return best;
}

/**
 * Recursive least squares with exponential forgetting on relative errors (a 1 ms batch teaches as much as a 1 s one), coefficients held
 * non-negative. State is the normal equations, 12 numbers; an observation costs a few microseconds.
 */
export function createCostModel(options: CostModelOptions = {}): CostModel {
  const prior = options.prior ?? PRIOR;
  const forgetting = options.forgetting ?? 0.99;
  // Unknowns are measured in units of the prior, so that the three are of one size and the ridge treats them alike.
  const unit = [prior.fixed, prior.perToken, prior.perSquare];
  const matrix = new Float64Array(9);
  const right = new Float64Array(3);
  let current = prior;
  let observations = 0;
  const expected = (o: Observation) => current.fixed + current.perToken * o.tokens + current.perSquare * o.squares;

  const settle = (): Cost => {
    const ridged = Float64Array.from(matrix);
    const target = Float64Array.from(right);
    for (let i = 0; i < 3; i++) {
      ridged[4 * i]! += RIDGE;
      target[i]! += RIDGE;
    }
    const [fixed = 0, perToken = 0, perSquare = 0] = solveNonNegative(ridged, target);
    return { fixed: fixed * unit[0]!, perToken: perToken * unit[1]!, perSquare: perSquare * unit[2]! };
  };

  return {
    observe(observation) {
      if (!(observation.ms > 0) || !(observation.tokens > 0)) return;
      const usual = observations >= TRUSTED ? expected(observation) : undefined;
      const ms = usual ? Math.min(Math.max(observation.ms, usual / OUTLIER), usual * OUTLIER) : observation.ms;
      const x = [unit[0]! / ms, (unit[1]! * observation.tokens) / ms, (unit[2]! * observation.squares) / ms];
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 3; j++) matrix[3 * i + j] = forgetting * matrix[3 * i + j]! + x[i]! * x[j]!;
        right[i] = forgetting * right[i]! + x[i]!;
      }
      observations++;
      current = settle();
    },
    cost: () => current,
    get observations() {
      return observations;
    },
  };
}
