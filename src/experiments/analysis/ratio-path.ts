import type { Experiment } from '../definitions/definition.ts';
import { SequentialRatio } from './sequential-ratio.ts';
import { sharesUnder } from './weights.ts';

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

/** Units between two stored states of the test. */
const STRIDE = 1000;

/** Returns the place in an ordered list before which `one` belongs. */
function placeOf(ordered: readonly FirstExposure[], one: FirstExposure): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (inOrder(ordered[middle]!, one) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Follows the units of an experiment in the order in which they were first exposed, each compared with the shares in force then. Units that are
 * added later cost no second pass over all earlier ones, also where they take a place among them: other servers write a little later.
 */
export class RatioPath {
  readonly #experiment: Pick<Experiment, 'arms'>;
  readonly #history: ReadonlyMap<string, Experiment>;
  readonly #armIndex: ReadonlyMap<string, number>;
  readonly #shares = new Map<string, readonly number[] | undefined>();
  readonly #ordered: FirstExposure[] = [];
  /** The test before each STRIDE-th unit. */
  readonly #states: SequentialRatio[] = [];
  #ratio: SequentialRatio;

  /** @param history definitions by `configHash`; one that is not known counts as the present one. */
  constructor(experiment: Pick<Experiment, 'arms'>, history: ReadonlyMap<string, Experiment>) {
    this.#experiment = experiment;
    this.#history = history;
    this.#armIndex = new Map(experiment.arms.map(({ name }, i) => [name, i]));
    this.#ratio = new SequentialRatio(experiment.arms.length);
  }

  /** Adds units that were not added before. */
  add(firsts: readonly FirstExposure[]): void {
    const [first, ...others] = firsts.toSorted(inOrder);
    if (!first) return;
    const place = placeOf(this.#ordered, first);
    const state = Math.floor(place / STRIDE);
    const moved = this.#ordered.splice(place);
    const again = this.#ordered.splice(state * STRIDE);
    const restored = this.#states[state];
    if (restored) {
      this.#ratio = restored;
      this.#states.length = state;
    }
    for (const one of again) this.#follow(one);
    this.#follow(first);
    for (const one of moved.length > 0 ? [...moved, ...others].sort(inOrder) : others) this.#follow(one);
  }

  /** The always-valid p-value: small where units are missing from an arm. */
  get p(): number {
    return this.#ratio.p;
  }

  #follow(first: FirstExposure): void {
    if (this.#ordered.length % STRIDE === 0) this.#states.push(this.#ratio.copy());
    this.#ordered.push(first);
    const arm = this.#armIndex.get(first.arm);
    const shares = this.#sharesUnder(first.configHash);
    // A unit of an arm that is gone, or was not there by the definition, says nothing about the shares of the others.
    if (arm !== undefined && shares && shares[arm]! > 0) this.#ratio.add(arm, shares);
  }

  #sharesUnder(hash: string): readonly number[] | undefined {
    if (!this.#shares.has(hash)) this.#shares.set(hash, sharesUnder(hash, this.#experiment, this.#history));
    return this.#shares.get(hash);
  }
}
