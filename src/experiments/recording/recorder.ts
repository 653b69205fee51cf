import type { Answering, RequestDecision } from '../assignment/decisions.ts';
import type { Plan } from '../assignment/prepared.ts';
import type { ExperimentObserver, Exposed, HookRanked, Shadowed } from '../ports.ts';
import { answeredRanking, draftOf, type ExposureDraft, fallbackOf } from './exposures.ts';
import { countsAgainstArm, GuardrailWatch } from './guardrails.ts';
import { compareRankings } from './shadow.ts';
import type { Trips } from './trips.ts';

export interface RecorderOptions {
  readonly log: { add(draft: ExposureDraft): void };
  readonly trips: Trips;
  readonly observer: ExperimentObserver;
  readonly now: () => number;
}

/** A shadowed request until its shadow arms have told. */
interface Pending {
  readonly answered: readonly HookRanked[];
  /** By experiment: the row that figures are added to. Texts are not kept. */
  readonly drafts: ReadonlyMap<Plan, ExposureDraft>;
}

/** Turns what the re-ranker tells into exposures, figures and guardrail readings. Nothing here waits. */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #guardrails = new GuardrailWatch();
  readonly #pending = new WeakMap<RequestDecision, Pending>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Forgets the readings of definitions that are no longer in effect. */
  keepOnly(plans: readonly Plan[]): void {
    this.#guardrails.keepOnly(plans);
  }

  expose(exposed: Exposed<RequestDecision>): void {
    const { decision } = exposed;
    const at = this.#options.now();
    if (decision.answering) this.#exposeAnswering(decision.answering, exposed, at);
    if (decision.shadowing.length === 0) return;
    const drafts = new Map<Plan, ExposureDraft>();
    for (const { plan, unit } of decision.shadowing) {
      const draft = draftOf({ plan, unit, arm: plan.control.name, forced: false, at }, exposed);
      // Logged at once, so that outcomes of the answer are known; figures follow.
      this.#options.log.add(draft);
      drafts.set(plan, { ...draft, passages: [], candidates: [] });
    }
    this.#pending.set(decision, { answered: answeredRanking(exposed), drafts });
  }

  shadow({ decision, arm, ranking, error }: Shadowed<RequestDecision>): void {
    const choice = decision.shadows.find((shadow) => shadow.arm === arm);
    const pending = this.#pending.get(decision);
    const draft = choice && pending?.drafts.get(choice.plan);
    if (!choice || !pending || !draft) return;
    const { plan, name } = choice;
    const about = { experiment: plan.definition.name, arm: name };
    // Work that was shed or came too late says nothing of the arm: its lane is served last.
    if (error !== 'overloaded' && error !== 'deadline_exceeded')
      this.#guard(plan, name, { failed: ranking === undefined, latencyMs: undefined });
    if (!ranking) {
      this.#options.observer.onShadow?.({ ...about, ...(error ? { code: error } : {}) });
      return;
    }
    const figures = compareRankings(pending.answered, ranking.ranking);
    this.#options.observer.onShadow?.({ ...about, figures });
    this.#options.log.add({ ...draft, row: { ...draft.row, shadow: { [name]: figures } } });
  }

  #exposeAnswering(answering: Answering, exposed: Exposed<RequestDecision>, at: number): void {
    const { plan, unit, arm, forced, tripped } = answering;
    this.#options.log.add(draftOf({ plan, unit, arm, forced, at }, exposed));
    const fallback = fallbackOf(exposed);
    const code = exposed.error ?? exposed.fallback?.code;
    this.#options.observer.onExposure?.({
      ...{ experiment: plan.definition.name, arm, forced },
      ...(fallback === undefined ? {} : { fallback }),
      ...(code === undefined ? {} : { code }),
    });
    if (forced || tripped) return;
    if (plan.definition.mode === 'interleave') this.#guardInterleaved(plan, exposed);
    else
      this.#guard(plan, arm, {
        failed: exposed.fallback !== undefined || countsAgainstArm(exposed.error),
        latencyMs: exposed.answer && !exposed.fallback ? exposed.latencyMs : undefined,
      });
  }

  /** Each arm by its own ranking; a request that failed as a whole is no single arm's fault. */
  #guardInterleaved(plan: Plan, { decision, arms, fallback, error }: Exposed<RequestDecision>): void {
    if (error) return;
    for (const { arm } of decision.arms) {
      const ranking = arms.find((one) => one.arm === arm);
      const failed = fallback?.arm === arm;
      if (ranking || failed) this.#guard(plan, arm, { failed, latencyMs: ranking?.timings.totalMs });
    }
  }

  #guard(plan: Plan, arm: string, event: { readonly failed: boolean; readonly latencyMs: number | undefined }): void {
    const trip = this.#guardrails.record(plan, arm, event);
    if (trip) this.#options.trips.trip(trip);
  }
}
