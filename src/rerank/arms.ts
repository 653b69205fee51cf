import { type ErrorCode, WinnowError } from '../errors.ts';
import { rankByModel } from './model-ranking.ts';
import { neverRising } from './ranking.ts';
import { openScope, type RequestScope } from './scope.ts';
import type { ScoringDeps, SharedEncodings } from './scoring.ts';
import { combineTimings } from './timings.ts';
import type {
  ArmChoice,
  ArmRanking,
  Decision,
  ExperimentHook,
  Exposure,
  ModelRanking,
  Ranked,
  RerankAnswer,
  RerankObserver,
  RerankRequest,
} from './types.ts';

/** Failures of an arm's model: control answers instead. Whatever is the client's fault, or the whole server's, fails the request. */
const ARM_FAILURES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unknown_model',
  'unknown_version',
  'model_refused',
  'model_not_ready',
  'host_lost',
  'inference_failed',
  'not_a_number',
]);

/** The arm an answer names where several made it. */
const INTERLEAVED = 'interleaved';

/** Shadow requests under way at once; more are given up before they cost anything. */
const MOST_SHADOWS = 64;

/** A shadow that is not scored by then says little of its latency and keeps texts in memory. */
const SHADOW_DEADLINE_MS = 30_000;

const codeOf = (error: unknown): ErrorCode => (error instanceof WinnowError ? error.code : 'internal');

interface ArmsResult {
  readonly arms: readonly ArmRanking[];
  readonly fallback?: NonNullable<Exposure['fallback']>;
}

/** What a request came to, for the answer. */
export interface Experimented extends ModelRanking {
  readonly experiment: NonNullable<RerankAnswer['experiment']>;
}

/** Plays a decision: scores its arms, falls back to control, merges, and afterwards exposes and scores shadows. */
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

  /** The decision for a request; none where it is outside all experiments, or the hook fails. */
  async decide(request: RerankRequest, scope: RequestScope): Promise<D | undefined> {
    try {
      return await scope.guard(Promise.resolve(this.#hook.decide(request)));
    } catch (error) {
      if (scope.signal.aborted) throw scope.signal.reason;
      this.#observer.onHookFailure?.(error, request);
      return undefined;
    }
  }

  /** @param finish makes the answer from the ranking (top n, timings). */
  async run(
    decision: D,
    request: RerankRequest,
    scope: RequestScope,
    finish: (ranking: Experimented) => RerankAnswer,
  ): Promise<RerankAnswer> {
    const shared: SharedEncodings = new Map();
    const latencyMs = () => this.#deps.clock.now() - scope.startedAt;
    try {
      const result = await this.#scoreArms(decision, request, scope, shared);
      const answer = finish(this.#merge(decision, request, result));
      this.#tell(request, () => this.#hook.expose({ decision, request, latencyMs: latencyMs(), answer, ...result }));
      for (const shadow of decision.shadows) void this.#shadow(decision, request, answer, shadow, shared);
      return answer;
    } catch (error) {
      const failed = { decision, request, latencyMs: latencyMs(), arms: [], error: codeOf(error) };
      this.#tell(request, () => this.#hook.expose(failed));
      throw error;
    }
  }

  async #scoreArms(
    decision: D,
    request: RerankRequest,
    scope: RequestScope,
    shared: SharedEncodings,
  ): Promise<ArmsResult> {
    const score = (choice: ArmChoice) => this.#scoreArm(choice, request, scope, shared);
    const settled = await Promise.allSettled(decision.arms.map(score));
    const failed = settled.findIndex(({ status }) => status === 'rejected');
    if (failed < 0) return { arms: settled.map((one) => (one as PromiseFulfilledResult<ArmRanking>).value) };
    const { arm } = decision.arms[failed]!;
    const { reason } = settled[failed] as PromiseRejectedResult;
    const code = codeOf(reason);
    if (!ARM_FAILURES.has(code) || (decision.arms.length === 1 && arm === decision.control.arm)) throw reason;
    const control = settled.find((one) => one.status === 'fulfilled' && one.value.arm === decision.control.arm);
    const ranking = control?.status === 'fulfilled' ? control.value : await score(decision.control);
    return { arms: [ranking], fallback: { arm, code } };
  }

  async #scoreArm(
    { arm, model }: ArmChoice,
    request: RerankRequest,
    scope: RequestScope,
    shared: SharedEncodings,
  ): Promise<ArmRanking> {
    return { arm, ...(await rankByModel(this.#deps, request, model, scope, shared)) };
  }

  #merge(decision: D, request: RerankRequest, { arms, fallback }: ArmsResult): Experimented {
    const [first] = arms as [ArmRanking, ...ArmRanking[]];
    const name = decision.experiment;
    const merged = arms.length > 1 && !fallback ? this.#interleave(decision, request, arms) : undefined;
    const { arm, ...alone } = first;
    if (!merged) return { ...alone, experiment: { name, arm } };
    const { model, version } = arms.find((one) => one.arm === decision.control.arm) ?? first;
    const experiment = { name, arm: INTERLEAVED };
    return { model, version, ...combined(arms), ranking: neverRising(merged), experiment };
  }

  #interleave(decision: D, request: RerankRequest, arms: readonly ArmRanking[]): readonly Ranked[] | undefined {
    try {
      return this.#hook.interleave(decision, request, arms);
    } catch (error) {
      this.#observer.onHookFailure?.(error, request);
      return undefined;
    }
  }

  /** Scores one shadow arm and tells the hook. Never rejects. */
  async #shadow(
    decision: D,
    request: RerankRequest,
    answer: RerankAnswer,
    choice: ArmChoice,
    shared: SharedEncodings,
  ): Promise<void> {
    const about = { decision, request, answer, arm: choice.arm };
    if (this.#shadows >= MOST_SHADOWS) {
      this.#tell(request, () => this.#hook.shadow({ ...about, error: 'overloaded' }));
      return;
    }
    this.#shadows++;
    // The client may leave; what he was answered is still compared.
    const { signal: _signal, ...rest } = request;
    const scope = openScope(this.#deps.clock, SHADOW_DEADLINE_MS);
    try {
      const ranking = await this.#scoreArm(choice, { ...rest, lane: 'shadow' }, scope, shared);
      this.#tell(request, () => this.#hook.shadow({ ...about, ranking }));
    } catch (error) {
      this.#tell(request, () => this.#hook.shadow({ ...about, error: codeOf(error) }));
    } finally {
      scope.close();
      this.#shadows--;
    }
  }

  #tell(request: RerankRequest, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#observer.onHookFailure?.(error, request);
    }
  }
}

/** What interleaved arms took together; a passage counts as truncated if any arm's model saw less than its whole text. */
function combined(arms: readonly ArmRanking[]) {
  return {
    tokens: arms.reduce((sum, arm) => sum + arm.tokens, 0),
    truncated: arms[0]!.truncated.map((_, i) => arms.some((arm) => arm.truncated[i])),
    timings: combineTimings(
      'arms',
      arms.map((arm) => arm.timings),
    ),
  };
}
