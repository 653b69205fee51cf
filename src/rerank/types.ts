import type { Lane } from '../scheduling/types.ts';
import type { LongPassages, Truncation } from '../tokenization/types.ts';

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
  /** Best first, ties by index; at most `topN`. */
  readonly ranking: readonly Ranked[];
  /** Tokens scored. */
  readonly tokens: number;
  /** One flag a passage: text was left out. */
  readonly truncated: readonly boolean[];
  readonly timings: Timings;
  readonly experiment?: { readonly name: string; readonly arm: string };
}

export interface Reranker {
  /** @throws WinnowError of the catalogue; never another error for bad input. */
  rerank(request: RerankRequest): Promise<RerankAnswer>;
}
