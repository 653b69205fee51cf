/*
 * The sequential multinomial test of Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022): the Bayes factor of a
 * Dirichlet prior around the planned shares against those shares. Under the plan it exceeds 1 ÷ α at any time with a probability of at most
 * α (Ville's inequality), so that it may be read after every unit.
 */

/**
 * Concentrations of the priors, in units; the Bayes factor is the mean of theirs. 10 finds coarse losses among few units (60 : 20 of 1 : 1), 1000
 * those of some percent among many. A prior in proportion to the shares lets a rare arm get some units early.
 */
const CONCENTRATIONS = [10, 1000] as const;

/** The evidence that units are missing from some arms, unit by unit. */
export class SequentialRatio {
  /** Units seen, and units expected, in each arm. */
  readonly #seen: Float64Array;
  readonly #expected: Float64Array;
  /** Logarithm of the Bayes factor by each concentration. */
  readonly #logs = new Float64Array(CONCENTRATIONS.length);
  /** The largest logarithm so far of the mean of both. */
  #peak = 0;

  constructor(arms: number) {
    this.#seen = new Float64Array(arms);
    this.#expected = new Float64Array(arms);
  }

  /**
   * Adds a unit. The shares may differ from unit to unit: each is compared with those in force when it came. What the next unit is predicted by
   * are its shares times the ratio of seen to expected units so far, in each arm; while shares are constant that is the Dirichlet prior's
   * own prediction, (k · share + seen) ÷ (k + units).
   * @param shares the shares of the arms, which add up to 1. The unit's own is positive.
   */
  add(arm: number, shares: readonly number[]): void {
    for (let which = 0; which < CONCENTRATIONS.length; which++) {
      let whole = 0;
      let own = 0;
      for (let i = 0; i < shares.length; i++) {
        const prior = CONCENTRATIONS[which]! * shares[i]!;
        if (prior === 0) continue;
        const ratio = (prior + this.#seen[i]!) / (prior + this.#expected[i]!);
        whole += shares[i]! * ratio;
        if (i === arm) own = ratio;
      }
      this.#logs[which]! += Math.log(own / whole);
    }
    this.#seen[arm]!++;
    for (let i = 0; i < shares.length; i++) this.#expected[i]! += shares[i]!;
    this.#raisePeak();
  }

  /** Returns an independent copy. */
  copy(): SequentialRatio {
    const copy = new SequentialRatio(this.#seen.length);
    copy.#seen.set(this.#seen);
    copy.#expected.set(this.#expected);
    copy.#logs.set(this.#logs);
    copy.#peak = this.#peak;
    return copy;
  }

  /** The always-valid p-value: the least 1 ÷ Bayes factor of all times so far. */
  get p(): number {
    return Math.exp(-this.#peak);
  }

  #raisePeak(): void {
    let top = this.#logs[0]!;
    for (const log of this.#logs) if (log > top) top = log;
    // The mean of the factors is at most the largest.
    if (top <= this.#peak) return;
    let sum = 0;
    for (const log of this.#logs) sum += Math.exp(log - top);
    this.#peak = Math.max(this.#peak, top + Math.log(sum / this.#logs.length));
  }
}
