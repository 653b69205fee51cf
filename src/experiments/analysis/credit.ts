import { percentile } from '../../statistics/bootstrap.ts';
import { holm } from '../../statistics/corrections.ts';
import { createRandom } from '../../util/random.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ClickedExposure } from '../records.ts';
import { type Comparison, compareWithZero, estimate, type Interval } from './estimates.ts';
import { Moments } from './moments.ts';

/** Outcomes credited to each arm of one interleaved answer. */
type Credit = Readonly<Record<string, number>>;

/** Credits an item's outcomes to the arm that drafted it. */
export function teamCredit({ items, clicks }: Pick<ClickedExposure, 'items' | 'clicks'>): Credit {
  const credit: Record<string, number> = {};
  for (const { index, team } of items) {
    const value = clicks.get(index);
    if (team !== undefined && value !== undefined) credit[team] = (credit[team] ?? 0) + value;
  }
  return credit;
}

/**
 * Credits outcomes under balanced interleaving, from the stored ranks. An arm gets the outcomes among its own first k items, where k is the
 * smallest depth at which both arms' prefixes together hold everything shown down to the lowest item with an outcome.
 */
export function rankCredit(
  { items, clicks }: Pick<ClickedExposure, 'items' | 'clicks'>,
  arms: readonly string[],
): Credit {
  const withOutcome = items.filter(({ index }) => clicks.has(index));
  const lowest = withOutcome.at(-1);
  if (!lowest) return {};
  const rank = (item: (typeof items)[number], arm: string) => item.ranks?.[arm] ?? Number.POSITIVE_INFINITY;
  const k = Math.min(...arms.map((arm) => rank(lowest, arm))) + 1;
  const credited = (arm: string) =>
    withOutcome.filter((item) => rank(item, arm) < k).reduce((sum, { index }) => sum + clicks.get(index)!, 0);
  return Object.fromEntries(arms.map((arm) => [arm, credited(arm)]));
}

interface Preference extends Pick<Comparison, 'standardError' | 'fixed' | 'alwaysValid'> {
  readonly arm: string;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  /** (Wins − losses) ÷ requests with an outcome: −1 … 1, 0 no preference. */
  readonly preference: number;
  /** Percentile interval of resampled units. */
  readonly bootstrap: Interval;
  /** Always-valid p-value, corrected by Holm over all metrics and all arms other than control. */
  readonly adjustedP: number;
}

interface UnitScore {
  score: number;
  requests: number;
}

const RESAMPLES = 1000;

/** Returns the interval of Σ score ÷ Σ requests over units drawn with replacement. */
export function clusterBootstrap(units: readonly UnitScore[], seed: number, level = 0.95): Interval {
  const random = createRandom(seed);
  const [scores, requests] = [units.map(({ score }) => score), units.map((unit) => unit.requests)];
  const draws = Float64Array.from({ length: RESAMPLES }, () => {
    let [score, total] = [0, 0];
    for (let i = 0; i < units.length; i++) {
      const drawn = random.below(units.length);
      score += scores[drawn]!;
      total += requests[drawn]!;
    }
    return score / total;
  }).sort();
  return [percentile(draws, (1 - level) / 2), percentile(draws, (1 + level) / 2)];
}

/** The wins and losses of one arm against control, by unit. */
class Duel {
  readonly #units = new Map<string, UnitScore>();
  #wins = 0;
  #losses = 0;
  #ties = 0;

  add(unit: string, own: number, other: number): void {
    const outcome = Math.sign(own - other);
    if (outcome > 0) this.#wins++;
    else if (outcome < 0) this.#losses++;
    else this.#ties++;
    const held = this.#units.get(unit) ?? { score: 0, requests: 0 };
    held.score += outcome;
    held.requests++;
    this.#units.set(unit, held);
  }

  preference(arm: string, alpha: number): Omit<Preference, 'adjustedP'> | undefined {
    const moments = new Moments();
    for (const { score, requests } of this.#units.values()) moments.add(score, requests, 0);
    const share = estimate(moments, true);
    const against = compareWithZero(share, alpha);
    if (!against) return undefined;
    const { standardError, fixed, alwaysValid } = against;
    const bootstrap = clusterBootstrap([...this.#units.values()], this.#units.size, 1 - alpha);
    const counts = { wins: this.#wins, losses: this.#losses, ties: this.#ties };
    return { arm, ...counts, preference: share.value, bootstrap, standardError, fixed, alwaysValid };
  }
}

export interface CreditSection {
  readonly metric: string;
  /** Interleaved answers with an outcome. */
  readonly requests: number;
  readonly preferences: readonly Preference[];
}

/** A section whose p-values are not corrected yet. */
export interface UncorrectedCredit extends Omit<CreditSection, 'preferences'> {
  readonly preferences: readonly Omit<Preference, 'adjustedP'>[];
}

/** Corrects the p-values of all comparisons as one family, as those of split experiments are. */
export function correctedCredit(sections: readonly UncorrectedCredit[]): readonly CreditSection[] {
  const adjusted = holm(sections.flatMap(({ preferences }) => preferences.map(({ alwaysValid }) => alwaysValid.p)));
  let at = 0;
  return sections.map((section) => ({
    ...section,
    preferences: section.preferences.map((one) => ({ ...one, adjustedP: adjusted[at++]! })),
  }));
}

/** Compares the outcomes credited to each arm with those of control, answer by answer, with units as clusters. */
export async function creditOf(
  experiment: Experiment,
  metric: string,
  clicked: AsyncIterable<ClickedExposure>,
  alpha = 0.05,
): Promise<UncorrectedCredit> {
  const names = experiment.arms.map(({ name }) => name);
  const duels = new Map(names.filter((name) => name !== experiment.control).map((name) => [name, new Duel()]));
  let requests = 0;
  for await (const exposure of clicked) {
    if (exposure.clicks.size === 0) continue;
    requests++;
    const credit = experiment.method === 'balanced' ? rankCredit(exposure, names) : teamCredit(exposure);
    for (const [arm, duel] of duels) duel.add(exposure.unit, credit[arm] ?? 0, credit[experiment.control] ?? 0);
  }
  const preferences = [...duels].flatMap(([arm, duel]) => duel.preference(arm, alpha) ?? []);
  return { metric, requests, preferences };
}
