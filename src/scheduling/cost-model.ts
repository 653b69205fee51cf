/*
 * The cost of a batch, learned while serving: time ≈ a + b·tokens + c·Σlength². Tokens and lengths are padded, as the engine sees them.
 * a is the fixed cost of a batch (dispatch, kernel launches), b the linear layers, c the attention.
 */

/** Milliseconds for each batch, padded token and squared padded length. None is negative. */
export interface Cost {
  readonly fixed: number;
  readonly perToken: number;
  readonly perSquare: number;
}

/** One batch that ran: `tokens` = rows × length, `squares` = rows × length², `ms` its wall time. */
interface Observation {
  readonly tokens: number;
  readonly squares: number;
  readonly ms: number;
}

/** The cost before the first observation: a small encoder on one core. An error of ten times affects only the first few decisions. */
export const PRIOR: Cost = { fixed: 1, perToken: 0.05, perSquare: 2e-5 };

interface CostModelOptions {
  readonly prior?: Cost;
  /** Factor on the weight of older observations at each new one. 0.99 (the default) remembers about a hundred batches. */
  readonly forgetting?: number;
}

export interface CostModel {
  observe(observation: Observation): void;
  /** Returns the present estimate. */
  cost(): Cost;
  readonly observations: number;
}

/** Returns the predicted milliseconds of `rows` rows padded to `length` tokens. */
export function batchMs(cost: Cost, rows: number, length: number): number {
  return cost.fixed + rows * length * (cost.perToken + cost.perSquare * length);
}

/**
 * Weight of the prior, in observations that take as long as it says. It fixes coefficients that the traffic does not determine. Times count relative to
 * themselves, so that twenty times slower batches weigh 400 times less: 1e-6 moved their predictions by .2 %.
 */
const RIDGE = 1e-8;

/**
 * After this many batches, the time of a batch is limited to `OUTLIER` times its estimate, and to the estimate divided by `OUTLIER`. Long
 * times come from hosts that died or machines that paused; short ones from answers that waited while this process was paused. With
 * relative errors, a time near zero would outweigh all others.
 */
export const TRUSTED = 8;
const OUTLIER = 4;

/** The subsets of the three unknowns that may be non-zero, the full set first. */
const ACTIVE_SETS: readonly (readonly number[])[] = [[0, 1, 2], [1, 2], [0, 1], [0, 2], [1], [2], [0]];

/** Solves the symmetric positive system for the `active` unknowns by elimination; the others stay 0. */
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

/** Returns ½ xᵀAx − vᵀx, the least-squares objective up to a constant. */
function objective(matrix: Float64Array, right: Float64Array, x: Float64Array): number {
  let value = 0;
  for (let i = 0; i < 3; i++) {
    let row = 0;
    for (let j = 0; j < 3; j++) row += matrix[3 * i + j]! * x[j]!;
    value += x[i]! * (row / 2 - right[i]!);
  }
  return value;
}

/** Solves least squares under x ≥ 0 exactly: with three unknowns, every set of free ones is tried. */
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
 * Creates a cost model: recursive least squares with exponential forgetting on relative errors (a batch of 1 ms counts as much as one of
 * 1 s), coefficients not negative. The state is 12 numbers; an observation takes a few microseconds.
 */
export function createCostModel(options: CostModelOptions = {}): CostModel {
  const prior = options.prior ?? PRIOR;
  const forgetting = options.forgetting ?? 0.99;
  // In units of the prior all three unknowns are near 1, so that the ridge affects them equally.
  const unit = [prior.fixed, prior.perToken, prior.perSquare];
  const matrix = new Float64Array(9);
  const right = new Float64Array(3);
  let current = prior;
  let observations = 0;
  const expected = (o: Observation) => current.fixed + current.perToken * o.tokens + current.perSquare * o.squares;

  const solve = (): Cost => {
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
      const estimate = observations >= TRUSTED ? expected(observation) : undefined;
      const ms = estimate ? Math.min(Math.max(observation.ms, estimate / OUTLIER), estimate * OUTLIER) : observation.ms;
      const x = [unit[0]! / ms, (unit[1]! * observation.tokens) / ms, (unit[2]! * observation.squares) / ms];
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 3; j++) matrix[3 * i + j] = forgetting * matrix[3 * i + j]! + x[i]! * x[j]!;
        right[i] = forgetting * right[i]! + x[i]!;
      }
      observations++;
      current = solve();
    },
    cost: () => current,
    get observations() {
      return observations;
    },
  };
}
