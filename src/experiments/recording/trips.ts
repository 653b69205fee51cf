import type { Plan } from '../assignment/prepared.ts';
import type { ExperimentObserver } from '../ports.ts';
import type { AuditEntry, ExperimentStore } from '../records.ts';
import { keyOf, type Trip, trippedArm } from './guardrails.ts';

export interface TripsOptions {
  readonly observer: ExperimentObserver;
  readonly now: () => number;
}

/**
 * Arms that guardrails took out. A trip holds for the definition it happened under, over restarts and in every server of the same database;
 * a change of the definition lets the arm in again.
 */
export class Trips {
  readonly #options: TripsOptions;
  readonly #tripped = new Set<string>();
  /** Audited as soon as the database can. */
  #unsaved: AuditEntry[] = [];
  #plans: readonly Plan[] = [];

  constructor(options: TripsOptions) {
    this.#options = options;
  }

  has(key: string): boolean {
    return this.#tripped.has(key);
  }

  /** Takes an arm out from now on. */
  trip({ plan, arm, reason }: Trip): void {
    const key = keyOf(plan, arm);
    if (this.#tripped.has(key)) return;
    this.#tripped.add(key);
    const entry: AuditEntry = {
      ...{ at: this.#options.now(), who: 'guardrail', experiment: plan.definition.name },
      ...{ action: 'tripped', configHash: plan.hash, diff: reason },
    };
    this.#unsaved.push(entry);
    this.#options.observer.onChange?.(entry);
  }

  keepOnly(plans: readonly Plan[]): void {
    this.#plans = plans;
    const kept = new Set(plans.flatMap((plan) => plan.definition.arms.map(({ name }) => keyOf(plan, name))));
    for (const key of this.#tripped) if (!kept.has(key)) this.#tripped.delete(key);
  }

  /** Saves trips and takes over those of other servers. @throws the database's error. */
  async sync(store: ExperimentStore): Promise<void> {
    while (this.#unsaved.length > 0) {
      await store.audit(this.#unsaved[0]!);
      this.#unsaved.shift();
    }
    if (this.#plans.every(({ definition }) => definition.guardrails.length === 0)) return;
    for (const { action, experiment, configHash, diff } of await store.audits()) {
      const arm = action === 'tripped' ? trippedArm(diff) : undefined;
      const plan = this.#plans.find(({ definition, hash }) => definition.name === experiment && hash === configHash);
      if (arm && plan) this.#tripped.add(keyOf(plan, arm));
    }
  }
}
