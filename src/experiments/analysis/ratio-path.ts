import type { Experiment } from '../definitions/definition.ts';
import { sharesOf } from './phases.ts';
import { SequentialRatio } from './sequential-ratio.ts';

/** The first exposure of a unit. */
export interface FirstExposure {
  readonly unit: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly arm: string;
  /** The definition in force. */
  readonly configHash: string;
}

/** Orders first exposures by time; those of one millisecond by unit, so that the order does not depend on how they were read. */
const inOrder = (a: FirstExposure, b: FirstExposure): number => a.at - b.at || (a.unit < b.unit ? -1 : 1);

/**
 * Follows the units of an experiment in the order in which they were first exposed, each compared with the shares in force then. Later units
 * cost no second pass over the earlier ones.
 */
export class RatioPath {
  readonly #experiment: Pick<Experiment, 'arms'>;
  readonly #history: ReadonlyMap<string, Experiment>;
  readonly #armIndex: ReadonlyMap<string, number>;
  readonly #shares = new Map<string, readonly number[] | undefined>();
  #ordered: FirstExposure[] = [];
  #ratio: SequentialRatio;

  /** @param history definitions by `configHash`; one that is not known counts as the present one. */
  constructor(experiment: Experiment, history: ReadonlyMap<string, Experiment>) {
    this.#experiment = experiment;
    this.#history = history;
    this.#armIndex = new Map(experiment.arms.map(({ name }, i) => [name, i]));
    this.#ratio = new SequentialRatio(experiment.arms.length);
  }

  /** Adds units. Those that were first exposed before units added earlier take their place among them. */
  add(firsts: readonly FirstExposure[]): void {
    const sorted = firsts.toSorted(inOrder);
    const [first] = sorted;
    if (!first) return;
    const last = this.#ordered.at(-1);
    if (last && inOrder(first, last) < 0) this.replace([...this.#ordered, ...sorted]);
    else this.#follow(sorted);
  }

  /** Starts again with these units. */
  replace(firsts: readonly FirstExposure[]): void {
    this.#ordered = [];
    this.#ratio = new SequentialRatio(this.#experiment.arms.length);
    this.#follow(firsts.toSorted(inOrder));
  }

  /** The always-valid p-value: small where units are missing from an arm. */
  get p(): number {
    return this.#ratio.p;
  }

  #follow(sorted: readonly FirstExposure[]): void {
    for (const first of sorted) {
      this.#ordered.push(first);
      const arm = this.#armIndex.get(first.arm);
      const shares = this.#sharesUnder(first.configHash);
      // A unit of an arm that is gone, or was not there by the definition, says nothing about the shares of the others.
      if (arm !== undefined && shares && shares[arm]! > 0) this.#ratio.add(arm, shares);
    }
  }

  #sharesUnder(hash: string): readonly number[] | undefined {
    if (!this.#shares.has(hash)) {
      const names = this.#experiment.arms.map(({ name }) => name);
      const shares = sharesOf(this.#history.get(hash) ?? this.#experiment, names);
      this.#shares.set(hash, shares && [...shares.values()]);
    }
    return this.#shares.get(hash);
  }
}
