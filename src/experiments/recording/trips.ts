import type { PreparedExperiment } from '../assignment/prepared-experiment.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { AuditEntry, ExperimentStore } from '../records.ts';
import { armKey, armKeys, type Trip, trippedArm } from './guardrails.ts';

interface TripsOptions {
  readonly observer: ExperimentObserver;
  /** Returns milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Arms that guardrails took out. A trip holds for the definition it happened under, over restarts and in every server of the same
 * database. Once the definition is changed the arm takes part again.
 */
export class Trips {
  readonly #options: TripsOptions;
  readonly #tripped = new Set<string>();
  /** Trips that are not audited yet; the next `sync` saves them. */
  #unsaved: AuditEntry[] = [];
  #experiments: readonly PreparedExperiment[] = [];

  constructor(options: TripsOptions) {
    this.#options = options;
  }

  has(key: string): boolean {
    return this.#tripped.has(key);
  }

  /** Takes an arm out from now on. */
  trip({ prepared, arm, reason }: Trip): void {
    const key = armKey(prepared, arm);
    if (this.#tripped.has(key)) return;
    this.#tripped.add(key);
    const entry: AuditEntry = {
      at: this.#options.now(),
      who: 'guardrail',
      experiment: prepared.definition.name,
      action: 'tripped',
      configHash: prepared.hash,
      diff: reason,
    };
    this.#unsaved.push(entry);
    this.#options.observer.onChange?.(entry);
  }

  /** Forgets the trips of definitions that are no longer in effect. */
  keepOnly(experiments: readonly PreparedExperiment[]): void {
    this.#experiments = experiments;
    const kept = armKeys(experiments);
    for (const key of this.#tripped) if (!kept.has(key)) this.#tripped.delete(key);
  }

  /** Saves new trips and adopts those of other servers. @throws the database's error. */
  async sync(store: ExperimentStore): Promise<void> {
    while (this.#unsaved.length > 0) {
      await store.audit(this.#unsaved[0]!);
      this.#unsaved.shift();
    }
    if (this.#experiments.every(({ definition }) => definition.guardrails.length === 0)) return;
    for (const { action, experiment, configHash, diff } of await store.audits()) {
      const arm = action === 'tripped' ? trippedArm(diff) : undefined;
      const prepared = this.#experiments.find(
        ({ definition, hash }) => definition.name === experiment && hash === configHash,
      );
      if (arm && prepared) this.#tripped.add(armKey(prepared, arm));
    }
  }
}
