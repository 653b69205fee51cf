import { normal } from '../../statistics/distributions.ts';
import { mixture, sequentialReach } from './sequential.ts';

/** What is known about a metric before an experiment, and the effect to find. */
export interface Plan {
  /** Standard deviation of the metric over units. */
  readonly deviation: number;
  /** Smallest difference worth finding, in the metric's unit. */
  readonly effect: number;
  /** Units of control and treatment, relative to each other. */
  readonly shares?: readonly [control: number, treatment: number];
  readonly alpha?: number;
  /** Comparisons that share α (arms other than control × metrics). */
  readonly comparisons?: number;
  /** Correlation with a covariate from before the experiment (CUPED): variance falls by 1 − ρ². */
  readonly correlation?: number;
  /** `fixed`: one look at the end. `alwaysValid`: a look at any time, which costs some power at a given size. */
  readonly method?: 'fixed' | 'alwaysValid';
}

function derived({ deviation, effect, shares = [1, 1], alpha = 0.05, comparisons = 1, correlation = 0 }: Plan) {
  const [control, treatment] = shares.map((share) => share / (shares[0] + shares[1])) as [number, number];
  const variance = deviation ** 2 * (1 - correlation ** 2);
  /** Standard error at n units in both arms together. */
  const error = (n: number) => Math.sqrt(variance / (n * control) + variance / (n * treatment));
  return { effect: Math.abs(effect), error, level: alpha / comparisons };
}

/** Returns the chance to find the effect with `n` units in control and treatment together. */
export function powerAt(n: number, plan: Plan): number {
  const { effect, error, level } = derived(plan);
  const reach =
    plan.method === 'alwaysValid' ? sequentialReach(n, level, mixture(level)) : normal.quantile(1 - level / 2);
  const z = effect / error(n);
  return normal.sf(reach - z) + normal.cdf(-reach - z);
}

/** Returns the fewest units, control and treatment together, that find the effect with a chance of `power`. */
export function unitsFor(power: number, plan: Plan): number {
  let high = 4;
  while (powerAt(high, plan) < power && high < 1e12) high *= 2;
  let low = high / 2;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (powerAt(middle, plan) < power) low = middle;
    else high = middle;
  }
  return high;
}
