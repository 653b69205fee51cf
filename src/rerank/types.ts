import type { ErrorCode } from '../errors.ts';
import type { Lane } from '../scheduling/scheduling-types.ts';
import type { LongPassages, Truncation } from '../tokenization/tokenization-types.ts';

export interface CascadeStage {
  readonly model: string;
  /** How many passages go on to the next stage; the last stage's `keep` may be left out. */
  readonly keep?: number;
}

/** What any dialect's body becomes. */
export interface RerankRequest {
  readonly requestId: string;
  /** `model`, `model@version`, `model:label`; the default model if absent. */
  readonly model?: string;
  /** Small model prunes, large one finishes; excludes `model`. */
  readonly cascade?: readonly CascadeStage[];
  readonly query: string;
  readonly passages: readonly string[];
  /** How many results the answer holds; all if absent. */
  readonly topN?: number;
  /** false: a pair that does not fit is an error (`passage_too_long`) instead of being cut. */
  readonly truncate: boolean;
  readonly truncation?: Truncation;
  readonly side?: 'left' | 'right';
  readonly longPassages?: LongPassages;
  /** Tokens of a passage used at the most. */
  readonly maxPassageTokens?: number;
  readonly lane: Lane;
  readonly priority?: number;
  /** Milliseconds from now after which the answer is of no use. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** What experiments hash and target on. */
  readonly subject?: {
    readonly unit?: string;
    readonly user?: string;
    readonly session?: string;
    readonly key?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly forcedArm?: string;
  };
}

export interface Ranked {
  /** Place of the passage in the request. */
  readonly index: number;
  /** fp32 logit. */
  readonly score: number;
  /** After the activation; 0–1 for models with a sigmoid. */
  readonly relevanceScore: number;
  /** Experiment arm that contributed this item (interleaving only). */
  readonly team?: string;
  /** Cascade only: the stage that scored this item last, 0 the first. */
  readonly stage?: number;
}

export interface Timings {
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
  readonly totalMs: number;
}

export interface RerankAnswer {
  readonly model: string;
  readonly version: string;
  /** Best first, ties by index; at most `topN`. Neither scores nor relevance scores ever rise along it. */
  readonly ranking: readonly Ranked[];
  /** Tokens scored. */
  readonly tokens: number;
  /** One flag a passage: text was left out. */
  readonly truncated: readonly boolean[];
  readonly timings: Timings;
  readonly experiment?: { readonly name: string; readonly arm: string };
}

/** One model's say on a whole request: every passage, whatever `topN`. */
export interface ModelRanking {
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly Ranked[];
  readonly tokens: number;
  readonly truncated: readonly boolean[];
  /** `totalMs` from the request's start to this model's end. */
  readonly timings: Timings;
}

export interface ArmChoice {
  readonly arm: string;
  /** What the request then asks the registry for. */
  readonly model: string;
}

/** What experiments want done with one request. They get the very same object back, so it may carry more (unit, hash version). */
export interface Decision {
  readonly experiment: string;
  /** Whose rankings make the answer: one arm, or several that are interleaved. */
  readonly arms: readonly [ArmChoice, ...ArmChoice[]];
  /** Answers alone where one of them cannot: its model is missing, refused or failing. */
  readonly control: ArmChoice;
  /** Scored in the lowest lane once the answer is made; nobody waits for them. */
  readonly shadows: readonly ArmChoice[];
}

export interface ArmRanking extends ModelRanking {
  readonly arm: string;
}

/** What a request under experiment came to. Told once the answer is made, or the request has failed for good. */
export interface Exposure<D extends Decision = Decision> {
  readonly decision: D;
  readonly request: RerankRequest;
  /** Milliseconds from the request's start. */
  readonly latencyMs: number;
  /** Absent where the request failed. */
  readonly answer?: RerankAnswer;
  /** Whole rankings of the arms that were scored: those decided on, or control alone. */
  readonly arms: readonly ArmRanking[];
  /** An arm could not answer, so control did. */
  readonly fallback?: { readonly arm: string; readonly code: ErrorCode };
  /** Why the request failed. */
  readonly error?: ErrorCode;
}

/** What became of a shadow arm: its ranking, or why there is none. */
export interface ShadowOutcome<D extends Decision = Decision> {
  readonly decision: D;
  readonly request: RerankRequest;
  /** What the client got. */
  readonly answer: RerankAnswer;
  readonly arm: string;
  readonly ranking?: ArmRanking;
  readonly error?: ErrorCode;
}

/**
 * Where experiments take part in re-ranking. `expose` and `shadow` run once the answer is made; none may block: what has to be stored is
 * queued. A hook that throws costs the experiment, never the answer.
 */
export interface ExperimentHook<D extends Decision = Decision> {
  /** Nothing for a request outside all experiments. Cascades are never asked about. */
  decide(request: RerankRequest): D | undefined | Promise<D | undefined>;
  /** Merges the arms' rankings of one request, best first, each item once with its `team`; called for two arms and more. */
  interleave(decision: D, request: RerankRequest, arms: readonly ArmRanking[]): readonly Ranked[];
  expose(exposure: Exposure<D>): void;
  shadow(outcome: ShadowOutcome<D>): void;
}

/** Told of what the answer does not show; must not throw. */
export interface RerankObserver {
  /** A hook threw; the request was answered without it. */
  onHookFailure?(error: unknown, request: RerankRequest): void;
}

export interface Reranker {
  /** @throws WinnowError of the catalog; never another error for bad input. */
  rerank(request: RerankRequest): Promise<RerankAnswer>;
}
