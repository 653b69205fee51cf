import type { ModelRegistry, ServedVersion } from '../registry/registry-types.ts';
import type { Scheduler } from '../scheduling/scheduling-types.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from '../tokenization/tokenization-types.ts';
import type { Clock } from '../util/clock.ts';
import type { PassageSharing } from './kept-passages.ts';
import type { CutOptions, PairSettings } from './pair-settings.ts';
import type { RequestScope } from './request-scope.ts';
import type { CascadeStage, KeptPassages, RerankRequest, UnprunedReason } from './rerank-types.ts';
import type { ScoreCache } from './score-cache.ts';
import type { TokenizerShelf, TokenizerSource } from './tokenizer-shelf.ts';

/** A row as it is submitted. */
export interface ScoredRow extends EncodedRow {
  /** Of a passage that is scored by its kept states: the query, and what was kept. Rows of one query share the array. */
  readonly kept?: { readonly query: Int32Array; readonly bytes: Uint8Array };
}

/** The parts of the service that scoring uses, as a caller gives them. */
export interface ScoringOptions {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  /** The pool of tokenizer threads, or a loader in this thread. */
  readonly tokenizers: TokenizerSource;
  readonly scheduler: Scheduler<ScoredRow>;
  /** The scheduler's clock. */
  readonly clock?: Clock;
  /** How pairs are cut where a request does not say: the section `tokenization` of the configuration. */
  readonly settings?: PairSettings;
  readonly scoreCache?: ScoreCache;
  /** What models that read query and passage apart make of passages; default: it is computed for each request. */
  readonly passages?: PassageSharing | undefined;
  /** Returns the stages of a name that means a cascade; default: none does. */
  readonly cascadeOf?: (name: string) => readonly CascadeStage[] | undefined;
  /** Recall with which requests that say nothing are pruned; 0 (the default): they are not. */
  readonly pruneRecall?: number;
}

/** The same with defaults filled in. */
export interface ScoringDeps {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerShelf;
  readonly scheduler: Scheduler<ScoredRow>;
  readonly clock: Clock;
  readonly settings: PairSettings;
  readonly scoreCache: ScoreCache | undefined;
  readonly passages: PassageSharing | undefined;
  readonly cascadeOf: (name: string) => readonly CascadeStage[] | undefined;
  readonly pruneRecall: number;
}

/** The fields of a request that decide its scores and how they are computed. */
export type ScoringRequest = CutOptions &
  Pick<RerankRequest, 'query' | 'passages' | 'topN' | 'prune' | 'lane' | 'priority' | 'subject' | 'signal' | 'isCheck'>;

/** Encodings of one request's texts that several models may share, by tokenizer and options. */
export type SharedEncodings = Map<string, Promise<EncodedRequest>>;

/** One request to be scored by one version. */
export interface ScoringTask {
  readonly version: ServedVersion;
  readonly request: ScoringRequest;
  readonly scope: RequestScope;
  readonly shared?: SharedEncodings | undefined;
}

/** The scores of all passages of a request by one model. */
export interface Scored {
  readonly version: ServedVersion;
  /** fp32 logit of each passage; 0 of those that were pruned. */
  readonly scores: Float32Array;
  /** Passages that were left out because they cannot be among the first `topN`, by place in the request, and their tokens. */
  readonly pruned?: { readonly places: readonly number[]; readonly tokens: number };
  /** Why a request that asks to be pruned was not. */
  readonly unpruned?: UnprunedReason;
  readonly truncated: readonly boolean[];
  /** For each passage, the tokens of the query that its pair left out. */
  readonly queryCut: Int32Array;
  /** Passages that were looked up in the passage cache; undefined where the model keeps none, or there is no cache. */
  readonly kept?: KeptPassages;
  /** Tokens of the pairs that were scored now; those of cached ones are not counted. */
  readonly tokens: number;
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
}

/** A task whose cached passages are known. */
export interface MissingTask extends ScoringTask {
  readonly options: PairOptions;
  /** Passages to score now, by place in the request. */
  readonly missing: readonly number[];
}

/** What was scored now. */
export interface Fresh extends Pick<Scored, 'tokens' | 'tokenizeMs' | 'queueMs' | 'inferMs' | 'pruned' | 'unpruned'> {
  /** For each of `missing`, whether the model read it now rather than the passage cache had it; undefined without a cache. */
  readonly read?: readonly boolean[];
  /** Passages that have a score now, by place in the request. */
  readonly places: readonly number[];
  readonly scores: Float32Array;
  readonly encoded: EncodedRequest;
  /** Returns the index in `encoded` of the passage at `places[i]`. */
  readonly at: (place: number, i: number) => number;
}
