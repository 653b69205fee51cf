import { type ErrorCode, WinnowError } from '../errors.ts';
import type { ArmChoice, Decision, ExperimentHook, FinishedRequest } from '../experiments/ports.ts';
import { rankByCascade } from './cascade.ts';
import { sumOfKept } from './kept-passages.ts';
import { rankByModel } from './model-ranking.ts';
import { neverRising } from './ranking.ts';
import { openScope, type RequestScope } from './request-scope.ts';
import type { ModelRanking, Ranked, RerankAnswer, RerankObserver, RerankRequest } from './rerank-types.ts';
import type { ScoringDeps, SharedEncodings } from './scoring-types.ts';
import { combineTimings } from './timings.ts';

/** Failures of an arm's model, after which control answers. Faults of the client or of the whole server fail the request. */
const ARM_FAILURES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unknown_model',
  'unknown_version',
  'model_refused',
  'model_not_ready',
  'host_lost',
  'inference_failed',
  'not_a_number',
]);

/** The arm in an answer that several arms made. */
const INTERLEAVED = 'interleaved';

/** The most shadow requests in progress at once; more are dropped before they cost anything. */
const MAX_SHADOWS = 64;

/** A shadow that takes longer says little about its latency and keeps texts in memory. */
const SHADOW_DEADLINE_MS = 30_000;

const codeOf = (error: unknown): ErrorCode => (error instanceof WinnowError ? error.code : 'internal');

interface ScoredArm extends ModelRanking {
  readonly arm: string;
}

interface ArmResults {
  readonly arms: readonly [ScoredArm, ...ScoredArm[]];
  readonly fallback?: NonNullable<FinishedRequest['fallback']>;
}

/** The ranking that answers a request under experiment. */
export interface ExperimentRanking extends ModelRanking {
  readonly experiment: NonNullable<RerankAnswer['experiment']>;
}

/** A request under experiment, while it is answered. */
interface DecidedRequest<D extends Decision> {
  readonly decision: D;
  readonly request: RerankRequest;
  /** Encodings that arms and shadows of this request share. */
  readonly shared: SharedEncodings;
}

/** Carries out decisions: scores the arms, falls back to control, merges, then records the request and scores its shadows. */
export class ArmRunner<D extends Decision> {
  readonly #deps: ScoringDeps;
  readonly #hook: ExperimentHook<D>;
  readonly #observer: RerankObserver;
  #shadows = 0;

  constructor(deps: ScoringDeps, hook: ExperimentHook<D>, observer: RerankObserver) {
    this.#deps = deps;
    this.#hook = hook;
    this.#observer = observer;
  }

  /** Returns the decision for a request; nothing where it is outside all experiments, or the hook fails. */
  async decide(request: RerankRequest, scope: RequestScope): Promise<D | undefined> {
    try {
      return await scope.guard(Promise.resolve(this.#hook.decide(request)));
    } catch (error) {
      if (scope.signal.aborted) throw scope.signal.reason;
      this.#observer.onHookFailure?.(error, request);
      return undefined;
    }
  }

  /**
   * Answers a request by its decision.
   * @param finish makes the answer from the ranking (top n, timings).
   * @throws WinnowError where neither the arm nor control could be scored.
   */
  async run(
    decision: D,
    request: RerankRequest,
    scope: RequestScope,
    finish: (ranking: ExperimentRanking) => RerankAnswer,
  ): Promise<RerankAnswer> {
    const decided: DecidedRequest<D> = { decision, request, shared: new Map() };
    const latencyMs = () => this.#deps.clock.now() - scope.startedAt;
    try {
      const results = await this.#scoreArms(decided, scope);
      const answer = finish(this.#merge(decided, results));
      this.#callHook(request, () =>
        this.#hook.recordRequest({ decision, request, latencyMs: latencyMs(), answer, ...results }),
      );
      for (const shadow of decision.shadows) void this.#scoreShadow(decided, answer, shadow);
      return answer;
    } catch (error) {
      const failed = { decision, request, latencyMs: latencyMs(), arms: [], error: codeOf(error) };
      this.#callHook(request, () => this.#hook.recordRequest(failed));
      throw error;
    }
  }

  async #scoreArms(decided: DecidedRequest<D>, scope: RequestScope): Promise<ArmResults> {
    const { arms, control } = decided.decision;
    const score = (choice: ArmChoice) => this.#scoreArm(choice, decided, scope);
    const settled = await Promise.allSettled(arms.map(score));
    const failed = settled.findIndex(({ status }) => status === 'rejected');
    const scored = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (failed < 0) return { arms: scored as [ScoredArm, ...ScoredArm[]] };
    const { arm } = arms[failed]!;
    const { reason } = settled[failed] as PromiseRejectedResult;
    const code = codeOf(reason);
    if (!ARM_FAILURES.has(code) || (arms.length === 1 && arm === control.arm)) throw reason;
    const controlRanking = scored.find((one) => one.arm === control.arm) ?? (await score(control));
    return { arms: [controlRanking], fallback: { arm, code } };
  }

  async #scoreArm(
    { arm, model, instruction }: ArmChoice,
    { request, shared }: Pick<DecidedRequest<D>, 'request' | 'shared'>,
    scope: RequestScope,
  ): Promise<ScoredArm> {
    // Arms are compared on whole rankings.
    const whole = { ...request, prune: false } as const;
    const instructed = instruction === undefined ? whole : { ...whole, instruction };
    const cascade = this.#deps.cascadeOf(model);
    const { model: _named, ...unnamed } = instructed;
    const { instructionIgnored, ...ranking } = cascade
      ? await rankByCascade(this.#deps, { ...unnamed, cascade }, scope)
      : await rankByModel(this.#deps, { request: instructed, model, scope, shared });
    if (instructionIgnored && instruction !== undefined) this.#observer.onInstructionIgnored?.({ arm, ...ranking });
    const isIgnored = request.instruction !== undefined && (instruction !== undefined || instructionIgnored);
    return {
      arm,
      ...ranking,
      ...(isIgnored ? { instructionIgnored: true } : {}),
      ...(request.prune ? { unpruned: 'experiment' } : {}),
    };
  }

  #merge(decided: DecidedRequest<D>, { arms, fallback }: ArmResults): ExperimentRanking {
    const { experiment: name, control } = decided.decision;
    const { arm, ...first } = arms[0];
    const merged = arms.length > 1 && !fallback ? this.#interleave(decided, arms) : undefined;
    if (!merged) return { ...first, experiment: { name, arm } };
    const { model, version } = arms.find((one) => one.arm === control.arm) ?? first;
    return {
      model,
      version,
      ...combinedCost(arms),
      ranking: neverRising(merged),
      experiment: { name, arm: INTERLEAVED },
    };
  }

  #interleave({ decision, request }: DecidedRequest<D>, arms: readonly ScoredArm[]): readonly Ranked[] | undefined {
    try {
      return this.#hook.interleave(decision, request, arms);
    } catch (error) {
      this.#observer.onHookFailure?.(error, request);
      return undefined;
    }
  }

  /** Scores one shadow arm and records it. Never rejects. */
  async #scoreShadow(decided: DecidedRequest<D>, answer: RerankAnswer, choice: ArmChoice): Promise<void> {
    const { decision, request, shared } = decided;
    const record = (result: { readonly ranking: ScoredArm } | { readonly error: ErrorCode }) =>
      this.#callHook(request, () => this.#hook.recordShadow({ decision, request, answer, arm: choice.arm, ...result }));
    if (this.#shadows >= MAX_SHADOWS) {
      record({ error: 'overloaded' });
      return;
    }
    this.#shadows++;
    // Without the client's signal: a shadow is scored even if the client leaves after its answer.
    const { signal: _signal, ...unaborted } = request;
    const scope = openScope(this.#deps.clock, SHADOW_DEADLINE_MS);
    try {
      record({ ranking: await this.#scoreArm(choice, { request: { ...unaborted, lane: 'shadow' }, shared }, scope) });
    } catch (error) {
      record({ error: codeOf(error) });
    } finally {
      scope.close();
      this.#shadows--;
    }
  }

  #callHook(request: RerankRequest, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#observer.onHookFailure?.(error, request);
    }
  }
}

/** Adds up what interleaved arms took. A passage counts as truncated if any arm's model saw less than its whole text. */
function combinedCost(arms: readonly ScoredArm[]): Omit<ModelRanking, 'model' | 'version' | 'ranking'> {
  const kept = sumOfKept(arms);
  return {
    tokens: arms.reduce((sum, arm) => sum + arm.tokens, 0),
    truncated: arms[0]!.truncated.map((_, i) => arms.some((arm) => arm.truncated[i])),
    queryCut: Math.max(...arms.map(({ queryCut }) => queryCut)),
    ...(arms.every(({ instructionIgnored }) => instructionIgnored) ? { instructionIgnored: true } : {}),
    ...(kept && { kept }),
    ...(arms[0]?.unpruned ? { unpruned: arms[0].unpruned } : {}),
    timings: combineTimings(
      'arms',
      arms.map((arm) => arm.timings),
    ),
  };
}
