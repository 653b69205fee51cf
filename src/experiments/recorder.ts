import type { Answering, RequestDecision } from './decisions.ts';
import { answeredRanking, draftOf, type ExposureDraft, fallbackOf } from './exposures.ts';
import { countsAgainstArm, GuardrailWatch } from './guardrails.ts';
import type { Plan } from './plan.ts';
import type { ExperimentObserver, Exposed, HookRanked, Shadowed } from './ports.ts';
import { compareRankings, type ShadowFigures } from './shadow.ts';
import type { Trips } from './trips.ts';

export interface RecorderOptions {
  readonly log: { add(draft: ExposureDraft): void };
  readonly trips: Trips;
  readonly observer: ExperimentObserver;
  readonly now: () => number;
}

/** A shadowed request until all its shadow arms have told. */
interface Pending {
  readonly answered: readonly HookRanked[];
  /** By experiment: what is logged when its last arm has told. */
  readonly drafts: Map<Plan, { draft: ExposureDraft; left: number; figures: Record<string, ShadowFigures> }>;
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
    const drafts: Pending['drafts'] = new Map();
    for (const { plan, unit } of decision.shadowing) {
      const draft = draftOf({ plan, unit, arm: plan.control.name, forced: false, at }, exposed);
      const left = decision.shadows.filter((shadow) => shadow.plan === plan).length;
      if (exposed.answer) drafts.set(plan, { draft, left, figures: {} });
      else this.#options.log.add(draft);
    }
    this.#pending.set(decision, { answered: answeredRanking(exposed), drafts });
  }

  shadow({ decision, arm, ranking, error }: Shadowed<RequestDecision>): void {
    const choice = decision.shadows.find((shadow) => shadow.arm === arm);
    const pending = this.#pending.get(decision);
    const held = choice && pending?.drafts.get(choice.plan);
    if (!choice || !pending || !held) return;
    const { plan, name } = choice;
    const about = { experiment: plan.definition.name, arm: name };
    if (ranking) {
      held.figures[name] = compareRankings(pending.answered, ranking.ranking);
      this.#options.observer.onShadow?.({ ...about, figures: held.figures[name] });
    } else this.#options.observer.onShadow?.({ ...about, ...(error ? { code: error } : {}) });
    // Work that was shed or came too late says nothing of the arm: its lane is served last.
    if (error !== 'overloaded' && error !== 'deadline_exceeded')
      this.#guard(plan, name, { failed: ranking === undefined, latencyMs: undefined });
    held.left--;
    if (held.left > 0) return;
    pending.drafts.delete(plan);
    this.#options.log.add({ ...held.draft, row: { ...held.draft.row, shadow: held.figures } });
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
