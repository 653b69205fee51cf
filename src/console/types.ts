import type { Ranked, RerankAnswer } from '../rerank/rerank-types.ts';

/* Requests and answers of the console's own endpoints (`/console/api`), and the port that fills them. The page in web/ uses the same types. */

/** `GET /console/api/session`, which needs scope `admin`. */
export interface SessionFacts {
  readonly version: string;
  readonly provider: string;
  readonly hosts: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly defaultModel?: string;
}

export interface PlaygroundItem extends Pick<Ranked, 'index' | 'score' | 'relevanceScore'> {
  readonly truncated: boolean;
}

/** `POST /console/api/rerank`: one model's ranking, best first. */
export interface PlaygroundAnswer extends Pick<RerankAnswer, 'model' | 'version' | 'tokens' | 'queryCut' | 'timings'> {
  readonly ranking: readonly PlaygroundItem[];
}

export interface PlaygroundRequest {
  readonly query: string;
  readonly passages: readonly string[];
  /** `model`, `model@version` or `model:label`; the default model if absent. */
  readonly model?: string;
}

/** `GET /console/api/models/NAME/VERSION`: documents in the version's folder. */
export interface VersionAbout {
  /** Markdown. */
  readonly card?: string;
  /** SVG of the training curve. */
  readonly curve?: string;
}

/** A histogram since the start of the process: the count of each bucket, the last of which has no upper bound. */
export interface Distribution {
  /** Upper bounds, rising. */
  readonly bounds: readonly number[];
  /** One more than `bounds`. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** `GET /console/api/load`: totals since the start of the process. The page computes differences. */
export interface LoadFacts {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly queue: { readonly tokens: number; readonly rows: number; readonly jobs: number };
  readonly inFlight: number;
  readonly requests: number;
  readonly errors: number;
  readonly pairs: number;
  readonly shedRows: number;
  readonly batches: number;
  readonly batchRows: number;
  /** Without padding. */
  readonly tokens: number;
  readonly paddingTokens: number;
  /** Seconds, from a request's arrival to the end of its answer. */
  readonly latency: Distribution;
  /** Seconds, from submission to the first batch. */
  readonly queueWait: Distribution;
  readonly hosts: {
    readonly provider: string;
    readonly alive: number;
    /** Resident bytes of each host. */
    readonly rss: readonly number[];
    readonly restarts: number;
    readonly recycles: number;
  };
  /** Rows of passages that were kept and that were read, and what is in the passage cache now. */
  readonly passages: {
    readonly hits: number;
    readonly misses: number;
    readonly entries: number;
    readonly bytes: number;
  };
  readonly process: { readonly rss: number; readonly heapUsed: number };
}

/** Delay of the event loop of the HTTP process since the last reading, in milliseconds. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export type LoadAnswer = LoadFacts & { readonly loop: LoopDelay };

/** The source of the console's data; `main/` provides it. */
export interface ConsoleSources {
  session(): SessionFacts;
  load(): Promise<LoadFacts>;
  /** Ranks outside of experiments. @throws WinnowError of the catalog. */
  rerank(
    request: PlaygroundRequest & { readonly requestId: string; readonly signal: AbortSignal },
  ): Promise<PlaygroundAnswer>;
  /** Returns the folder of a version in the registry. @throws WinnowError `unknown_model`, `unknown_version`. */
  folderOf(model: string, version: string): string;
  /** Whether the console needs a key. */
  readonly keyed: boolean;
}
