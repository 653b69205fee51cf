import type { RankedPassage, Subject } from '../experiments/ports.ts';
import type { Lane } from '../scheduling/scheduling-types.ts';
import type { LongPassages, Truncation } from '../tokenization/tokenization-types.ts';

export interface CascadeStage {
  readonly model: string;
  /** How many passages go on to the next stage; the last stage's `keep` may be left out. */
  readonly keep?: number | undefined;
  /** How much of the ranking is the scores of the stage before, from 0 to below 1; 0 if absent. */
  readonly blend?: number | undefined;
}

/** A request to re-rank, as every dialect's body is translated. */
export interface RerankRequest {
  readonly requestId: string;
  /** `model`, `model@version`, `model:label`; the default model if absent. */
  readonly model?: string;
  /** Stages that rank one after the other, a small model first; excludes `model`. */
  readonly cascade?: readonly CascadeStage[];
  readonly query: string;
  readonly passages: readonly string[];
  /** How many results the answer holds; all if absent. */
  readonly topN?: number;
  /** Passages whose relevance score is below it are left out of the answer; compared as float32, as scores are written. */
  readonly minScore?: number;
  /** false: a pair that does not fit is an error (`passage_too_long`) instead of being cut. */
  readonly truncate: boolean;
  readonly truncation?: Truncation;
  readonly side?: 'left' | 'right';
  readonly longPassages?: LongPassages;
  /** The most tokens of a pair, if fewer than the model takes; special ones included. */
  readonly maxPairTokens?: number;
  /** The most tokens of the query that are used, if fewer than the model uses. */
  readonly maxQueryTokens?: number;
  /** The most tokens of a passage that are used. */
  readonly maxPassageTokens?: number;
  /** The most windows of a passage that are scored. Where nothing says how long passages are scored, they are scored in windows. */
  readonly maxWindows?: number;
  /** What a model with a template looks for, in place of the template's own instruction. */
  readonly instruction?: string;
  /** Passages that cannot be among the first `topN` are left out before they are scored; false: whatever the server does by default. */
  readonly prune?: { readonly recall: number } | false;
  readonly lane: Lane;
  readonly priority?: number;
  /** Milliseconds from now after which the answer is of no use. */
  readonly deadlineMs: number;
  /** The client chose `deadlineMs`; else the server's setting did. */
  readonly clientDeadline?: boolean;
  readonly signal?: AbortSignal;
  /** The server's own check of itself, which does not count as demand. */
  readonly isCheck?: boolean;
  /** What experiments hash and target on. */
  readonly subject?: Subject;
}

/** Why a request that asked to be pruned was not. */
export type UnprunedReason =
  /** The answer holds every passage, so none can be left out. */
  | 'no_top_n'
  /** The version has no calibration for the served file. */
  | 'uncalibrated'
  /** The calibration has no margin for so high a recall. */
  | 'recall'
  /** Arms of an experiment are compared on whole rankings. */
  | 'experiment';

/** A passage in a ranking. */
export interface Ranked extends RankedPassage {
  /** Cascade only: the stage that scored this item last, 0 the first. */
  readonly stage?: number;
}

/** What the passage cache did. Passages with the same text count each; those with a known score are not looked up. */
export interface KeptPassages {
  /** Passages whose vector or states were kept, or on their way for another request. */
  readonly hits: number;
  /** Passages that the model read. */
  readonly misses: number;
}

export interface Timings {
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
  readonly totalMs: number;
}

/** One stage of a cascade that ran. */
export interface StageRun {
  readonly model: string;
  readonly version: string;
  /** Passages that it ranked. */
  readonly passages: number;
  /** Milliseconds until its version was in memory. */
  readonly leaseMs: number;
  /** `totalMs` is from the request's start to this stage's end. */
  readonly timings: Timings;
}

/** The ranking of a whole request by one model: every passage that was not pruned, whatever `topN`. */
export interface ModelRanking {
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly Ranked[];
  /** Tokens scored. */
  readonly tokens: number;
  /** One flag for each passage: text was left out. */
  readonly truncated: readonly boolean[];
  /** Tokens of the query that some pair left out: the most of any pair. */
  readonly queryCut: number;
  /** Whether the request's instruction had no effect: no model has a template with a place for it, or the arm has one of its own. */
  readonly instructionIgnored?: boolean;
  /** What the passage cache did; undefined where no model keeps what it makes of passages, or the cache is off. */
  readonly kept?: KeptPassages;
  /** Passages that were left out because they cannot be among the first `topN`, and the tokens that were not scored. */
  readonly pruned?: { readonly passages: number; readonly tokens: number };
  /** Why a request that asks to be pruned was not. */
  readonly unpruned?: UnprunedReason;
  /** `totalMs` is from the request's start to this model's end. */
  readonly timings: Timings;
  /** Milliseconds until the version was in memory, which is long where it had to be loaded. */
  readonly leaseMs?: number;
  /** Those of a cascade, in order. */
  readonly stages?: readonly StageRun[];
}

export interface RerankAnswer extends ModelRanking {
  /** Best first, ties by index; at most `topN`, none below `minScore`. Neither scores nor relevance scores ever rise along it. */
  readonly ranking: readonly Ranked[];
  /** Passages left out because of `minScore`; undefined where the request has none. */
  readonly belowMinScore?: number;
  readonly experiment?: { readonly name: string; readonly arm: string };
}

/** Receives failures that the answer does not show; must not throw. */
export interface RerankObserver {
  /** A hook threw; the request was answered without it. */
  onHookFailure?(error: unknown, request: RerankRequest): void;
  /** The instruction of an arm had no effect: its model has no template with a place for it. */
  onInstructionIgnored?(ranking: Pick<ModelRanking, 'model' | 'version'> & { readonly arm: string }): void;
}

export interface Reranker {
  /** @throws WinnowError of the catalog; never another error for bad input. */
  rerank(request: RerankRequest): Promise<RerankAnswer>;
}
