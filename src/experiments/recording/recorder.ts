import type { Answering, RequestDecision } from '../assignment/decisions.ts';
import type { PreparedExperiment } from '../assignment/prepared-experiment.ts';
import type { ExperimentObserver, FinishedRequest, FinishedShadow, RankedPassage } from '../ports.ts';
import { answeredRanking, fallbackOf, type PendingExposure, pendingExposure } from './exposures.ts';
import { type ArmEvent, countsAgainstArm, GuardrailWatch } from './guardrails.ts';
import { compareRankings } from './shadow-figures.ts';
import type { Trips } from './trips.ts';

interface RecorderOptions {
  readonly log: { add(exposure: PendingExposure): void };
  readonly trips: Trips;
  readonly observer: ExperimentObserver;
  /** Returns milliseconds since 1970. */
  readonly now: () => number;
}

/** A request whose shadow arms are not all scored yet. */
interface ShadowedRequest {
  readonly answered: readonly RankedPassage[];
  /** By experiment: the exposure that figures are added to, without its texts. */
  readonly exposures: ReadonlyMap<PreparedExperiment, PendingExposure>;
}

/** Turns finished requests and shadows into exposures, figures and guardrail readings. Nothing here waits. */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #guardrails = new GuardrailWatch();
  readonly #shadowed = new WeakMap<RequestDecision, ShadowedRequest>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Forgets the readings of definitions that are no longer in effect. */
  keepOnly(experiments: readonly PreparedExperiment[]): void {
    this.#guardrails.keepOnly(experiments);
  }

  recordRequest(finished: FinishedRequest<RequestDecision>): void {
    const { decision } = finished;
    const at = this.#options.now();
    if (decision.answering) this.#recordAnswering(decision.answering, finished, at);
    if (decision.shadowing.length === 0) return;
    const controlFailed = countsAgainstArm(finished.error, finished.request.clientDeadline);
    const exposures = new Map<PreparedExperiment, PendingExposure>();
    for (const { prepared, unit } of decision.shadowing) {
      const exposure = pendingExposure({ prepared, unit, arm: prepared.control.name, forced: false, at }, finished);
      // Logged at once, so that outcomes of the answer are known; figures follow.
      this.#options.log.add(exposure);
      if (finished.answer || controlFailed)
        this.#guard(prepared, prepared.control.name, { failed: controlFailed, latencyMs: undefined });
      exposures.set(prepared, { ...exposure, passages: [], candidates: [] });
    }
    this.#shadowed.set(decision, { answered: answeredRanking(finished), exposures });
  }

  recordShadow({ decision, arm, ranking, error }: FinishedShadow<RequestDecision>): void {
    const choice = decision.shadows.find((shadow) => shadow.arm === arm);
    const shadowed = this.#shadowed.get(decision);
    const exposure = choice && shadowed?.exposures.get(choice.prepared);
    if (!choice || !shadowed || !exposure) return;
    const { prepared, name } = choice;
    const labels = { experiment: prepared.definition.name, arm: name };
    // Work that was shed or missed its deadline says nothing about the arm: the shadow lane is served last.
    if (error !== 'overloaded' && error !== 'deadline_exceeded')
      this.#guard(prepared, name, { failed: ranking === undefined, latencyMs: undefined });
    if (!ranking) {
      this.#options.observer.onShadow?.({ ...labels, ...(error ? { code: error } : {}) });
      return;
    }
    const figures = compareRankings(shadowed.answered, ranking.ranking);
    this.#options.observer.onShadow?.({ ...labels, figures });
    this.#options.log.add({ ...exposure, record: { ...exposure.record, shadow: { [name]: figures } } });
  }

  #recordAnswering(answering: Answering, finished: FinishedRequest<RequestDecision>, at: number): void {
    const { prepared, unit, arm, forced, tripped } = answering;
    this.#options.log.add(pendingExposure({ prepared, unit, arm, forced, at }, finished));
    const fallback = fallbackOf(finished);
    const code = finished.error ?? finished.fallback?.code;
    this.#options.observer.onExposure?.({
      experiment: prepared.definition.name,
      arm,
      forced,
      ...(fallback === undefined ? {} : { fallback }),
      ...(code === undefined ? {} : { code }),
    });
    if (forced || tripped) return;
    if (prepared.definition.mode === 'interleave') this.#guardInterleaved(prepared, finished);
    else this.#guardSplit(prepared, arm, finished);
  }

  /** Reads the arm that was assigned. Where control answered in its place, control is known to have been able to. */
  #guardSplit(prepared: PreparedExperiment, arm: string, finished: FinishedRequest<RequestDecision>): void {
    const { answer, fallback, error, request, latencyMs } = finished;
    const failed = fallback !== undefined || countsAgainstArm(error, request.clientDeadline);
    // What the client caused is no request of the arm.
    if (!failed && !answer) return;
    if (fallback) this.#guard(prepared, prepared.control.name, { failed: false, latencyMs: undefined });
    this.#guard(prepared, arm, { failed, latencyMs: answer && !fallback ? latencyMs : undefined });
  }

  /** Reads each arm by its own ranking. A request that failed as a whole counts against no single arm. */
  #guardInterleaved(
    prepared: PreparedExperiment,
    { decision, arms, fallback, error }: FinishedRequest<RequestDecision>,
  ): void {
    if (error) return;
    for (const { arm } of decision.arms) {
      const ranking = arms.find((one) => one.arm === arm);
      const failed = fallback?.arm === arm;
      if (ranking || failed) this.#guard(prepared, arm, { failed, latencyMs: ranking?.timings.totalMs });
    }
  }

  #guard(prepared: PreparedExperiment, arm: string, event: ArmEvent): void {
    const trip = this.#guardrails.record(prepared, arm, event);
    if (trip) this.#options.trips.trip(trip);
  }
}
