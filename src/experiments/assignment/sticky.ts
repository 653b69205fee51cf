import type { Clock } from '../../util/clock.ts';
import { within } from '../../util/within.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { StoredAssignment } from '../records.ts';
import { inNamespace } from './buckets.ts';
import { type ArmDecider, type ArmQuestion, armNamed } from './deciders.ts';
import type { PreparedExperiment } from './prepared-experiment.ts';

interface StickyOptions {
  /** Decides for units that have no arm yet. */
  readonly inner: ArmDecider;
  /** Reads the arms that a unit was assigned to, oldest first. */
  readonly assignments: (experiment: string, unitId: string) => Promise<readonly StoredAssignment[]>;
  /** Whether a definition draws units as the present one does: by the same seed and hash. */
  readonly drawsAlike: (prepared: PreparedExperiment, configHash: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly observer: ExperimentObserver;
}

/** Units whose arm is kept in memory; others are read again. */
const MOST_UNITS = 100_000;
/** How long a request waits for the arm of its unit, in milliseconds. */
const LOOKUP_MS = 250;
/** How long nothing is read after a failure, in milliseconds. */
const PAUSE_MS = 1000;

/**
 * Keeps units of experiments that are `sticky` in the arm of their first stored assignment, whatever the weights are now. Where the arm is
 * not in the definition any more, or the database does not answer in time, the inner decider decides.
 */
export class StickyDecider implements ArmDecider {
  readonly #options: StickyOptions;
  /** Arm by unit, those used last at the end. */
  readonly #arms = new Map<string, string>();
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: StickyOptions) {
    this.#options = options;
  }

  decide(question: ArmQuestion): string | undefined | Promise<string | undefined> {
    const { inner, clock } = this.#options;
    const { prepared, unit } = question;
    const { sticky } = prepared.definition;
    const isOutside = prepared.namespace !== undefined && !inNamespace(unit.id, prepared.namespace);
    if (!sticky || isOutside) return inner.decide(question);
    const key = JSON.stringify([prepared.definition.name, prepared.seed, prepared.hashVersion, unit.id]);
    const known = armNamed(prepared.definition, this.#arms.get(key));
    if (known) return this.#keep(key, known.name);
    return clock.now() < this.#pausedUntil ? inner.decide(question) : this.#lookUp(key, question);
  }

  async #lookUp(key: string, question: ArmQuestion): Promise<string | undefined> {
    const { inner, observer, clock } = this.#options;
    try {
      const late = () => new Error(`the arm of a returning unit was not read within ${LOOKUP_MS} ms`);
      const stored = await within(LOOKUP_MS, this.#firstArm(question), late);
      const arm = stored ?? (await inner.decide(question));
      return armNamed(question.experiment, arm) ? this.#keep(key, arm!) : arm;
    } catch (error) {
      this.#pausedUntil = clock.now() + PAUSE_MS;
      const { message } = error as Error;
      observer.onProblem?.({ where: 'database', reason: `${message}; units are assigned by their hash meanwhile` });
      return inner.decide(question);
    }
  }

  async #firstArm({ prepared, experiment, unit }: ArmQuestion): Promise<string | undefined> {
    for (const { arm, configHash } of await this.#options.assignments(experiment.name, unit.id))
      if (armNamed(experiment, arm) && (await this.#options.drawsAlike(prepared, configHash))) return arm;
    return undefined;
  }

  #keep(key: string, arm: string): string {
    this.#arms.delete(key);
    this.#arms.set(key, arm);
    if (this.#arms.size > MOST_UNITS) this.#arms.delete(this.#arms.keys().next().value!);
    return arm;
  }
}
