import type { ServedVersion } from '../registry/registry-types.ts';
import { mapAhead } from '../util/look-ahead.ts';
import { mostCut } from './model-ranking.ts';
import type { CutOptions } from './pair-settings.ts';
import type { PruneOptions } from './pruning.ts';
import { openScope } from './request-scope.ts';
import { retryOverloaded } from './retry-overloaded.ts';
import { leaseModel, scorePassages, scoringDeps } from './scoring.ts';
import type { Scored, ScoringOptions } from './scoring-types.ts';

/** One query with its passages. Other fields are returned with the scores. */
interface ScorerInput {
  readonly query: string;
  readonly passages: readonly string[];
}

interface ScorerOutput<Input extends ScorerInput> {
  readonly input: Input;
  readonly version: ServedVersion;
  /** fp32 logit of each passage, in the input's order. */
  readonly scores: Float32Array;
  readonly truncated: readonly boolean[];
  /** Tokens of the query that some pair left out. */
  readonly queryCut: number;
  /** Tokens scored. */
  readonly tokens: number;
  /** Passages without a score, because they cannot be among the first `topN`, and their tokens. */
  readonly pruned?: Scored['pruned'];
  /** Why nothing was pruned though `prune` asks for it. */
  readonly unpruned?: Scored['unpruned'];
}

interface ScoreOptions extends Omit<CutOptions, 'truncate'>, Pick<PruneOptions, 'topN' | 'prune'> {
  /** `model`, `model@version`, `model:label`; the default model if absent. One version scores the whole stream. */
  readonly model?: string;
  /** The most passages in progress at once, over all requests; one request always is in progress. Default 2,048. */
  readonly passagesAhead?: number;
  readonly signal?: AbortSignal;
}

export interface Scorer {
  /**
   * Scores a stream of requests in the batch lane, several at a time so that batches stay full, and yields results in the requests' order.
   * Ending the loop early cancels the requests in progress.
   * @throws WinnowError of registry, tokenizer and scheduler; `client_closed` when the signal aborts. Never `overloaded`: it waits.
   */
  score<Input extends ScorerInput>(
    requests: Iterable<Input> | AsyncIterable<Input>,
    options?: ScoreOptions,
  ): AsyncGenerator<ScorerOutput<Input>, void, void>;
}

const PASSAGES_AHEAD = 2048;

/** Creates the scorer behind `winnow score` and `winnow eval`. It uses the same tokenizers, scheduler and hosts as requests to the server. */
export function createScorer(options: ScoringOptions): Scorer {
  const deps = scoringDeps(options);
  const { clock } = deps;
  return {
    async *score(requests, { model, passagesAhead = PASSAGES_AHEAD, signal, ...cutOptions } = {}) {
      const stop = new AbortController();
      const ended = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
      const scope = openScope(clock, Number.POSITIVE_INFINITY, ended);
      try {
        const lease = await leaseModel(deps, model, scope);
        const { version } = lease;
        const scoreOne = async <Input extends ScorerInput>(input: Input): Promise<ScorerOutput<Input>> => {
          const { query, passages } = input;
          const request = { ...cutOptions, query, passages, truncate: true, lane: 'batch', signal: ended } as const;
          const { scores, truncated, queryCut, tokens, pruned, unpruned } = await retryOverloaded(clock, scope, () =>
            scorePassages(deps, { version, request, scope }),
          );
          return { input, version, scores, truncated, queryCut: mostCut(queryCut), tokens, pruned, unpruned };
        };
        try {
          const weight = ({ passages }: ScorerInput) => passages.length;
          yield* mapAhead(requests, { limit: passagesAhead, weight }, scoreOne);
        } finally {
          // In this order: requests in progress end before the version may be unloaded.
          stop.abort();
          lease.release();
        }
      } finally {
        scope.close();
      }
    },
  };
}
