import type { RequestHandler, Router } from 'express';
import type { ErrorCode } from '../errors.ts';
import type { ExperimentsApi } from '../experiments/experiments-api.ts';
import type { ModelRegistry } from '../registry/registry-types.ts';
import type { NamedCascades } from '../rerank/named-cascades.ts';
import type { PassagesApi } from '../rerank/passages-api.ts';
import type { KeptPassages, Reranker, Timings } from '../rerank/rerank-types.ts';
import type { TokenReader } from '../rerank/text-tokens.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { ByteAccount } from './byte-account.ts';
import type { ApiKey } from './keys.ts';

/** What the HTTP layer needs of a logger; pino's fits. */
interface HttpLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** One finished request, for metrics. Never contains text of a query or a passage. */
export interface RequestEvent {
  readonly requestId: string;
  readonly method: string;
  /** The route's pattern, or `unmatched`. */
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  readonly code?: ErrorCode;
  /** Set where the trace of the request is recorded. */
  readonly traceId?: string;
  /** Name of the API key, or `anonymous`. */
  readonly caller?: string;
  /** This field and the following ones are set for scoring requests only. */
  readonly dialect?: string;
  readonly lane?: 'interactive' | 'batch' | 'shadow';
  readonly model?: string;
  readonly version?: string;
  readonly experiment?: { readonly name: string; readonly arm: string };
  readonly passages?: number;
  readonly tokens?: number;
  /** Passages that were truncated. */
  readonly truncated?: number;
  /** Tokens of queries that were left out. */
  readonly queryTruncated?: number;
  /** Passages that pruning left out, and their tokens. */
  readonly pruned?: { readonly passages: number; readonly tokens: number } | undefined;
  /** What the passage cache did. */
  readonly kept?: KeptPassages | undefined;
  readonly timings?: Timings;
}

export interface HttpTelemetry {
  readonly logger: HttpLogger;
  readonly tracing: Pick<Tracing, 'startRequest'>;
  /** Called when a scoring request arrives; `onRequest` follows for each. */
  onScoringStart?(): void;
  onRequest(event: RequestEvent): void;
  /** Returns the answer of `GET /metrics`: Prometheus' text format or OpenMetrics. */
  metrics(format: 'text' | 'openmetrics'): Promise<{ readonly contentType: string; readonly text: string }>;
  /** Returns what the engine has run since the start, by `model@version`. */
  batches(): Promise<ReadonlyMap<string, BatchCounts>>;
}

/** Batches of one version, and their rows together. */
export interface BatchCounts {
  readonly batches: number;
  readonly rows: number;
}

/** Whether the service can answer. */
export interface Readiness {
  /** `reason` is set while `ready` is false: no model yet, no host, shutting down. */
  probe(): Promise<{ readonly ready: boolean; readonly reason?: string }>;
  /** Whether a restart of the process is not due; always, if absent. `reason` is set where it is due. */
  liveness?(): { readonly live: boolean; readonly reason?: string };
  /** Returns true from SIGTERM on: answers then close their connection. */
  draining(): boolean;
}

/** Facts about the process in the answers of `GET /info`, `/meta` and `/v2`, in addition to those of the registry. */
interface ServiceInfo {
  readonly version: string;
  readonly provider: string;
  readonly hosts: number;
  /** Indexes of the GPUs; empty where the provider cannot choose between devices. */
  readonly devices: readonly number[];
  readonly maxBatchTokens: number;
  readonly maxBatchRows: number;
  readonly tokenizationWorkers: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface HttpOptions {
  readonly bodyLimitBytes: number;
  readonly maxPassages: number;
  /** Deadline of a request without one of its own, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** How long a client may take to send its body, in milliseconds. */
  readonly bodyTimeoutMs: number;
  /** How long an answer may make no progress, in milliseconds. */
  readonly writeTimeoutMs: number;
  readonly corsOrigins: readonly string[];
  /** Names that requests on loopback may have in `Host`, besides IP addresses and `localhost`; default none. */
  readonly hosts?: readonly string[];
  /** Requests per minute from one key (or address); 0 means no limit. */
  readonly requestsPerMinute: number;
  /** Passages per minute from one key (or address); 0, the default, means no limit. */
  readonly passagesPerMinute?: number;
  /** Whether a request that does not mention truncation is truncated; `always`: one that forbids it too. Default true. */
  readonly autoTruncate?: boolean | 'always';
  /** Prefix under which a proxy publishes the service, such as `/winnow`; default none. */
  readonly basePath?: string;
  /** Seconds for which browsers use HTTPS only (`Strict-Transport-Security`); 0, the default, sends no such header. */
  readonly hstsSeconds?: number;
  /** The most tokens of a query for every model; default: what each model says. */
  readonly maxQueryTokens?: number | undefined;
  /** Cascades by the names that requests send as their model; default none. */
  readonly cascades?: NamedCascades;
  /** The name that requests without one mean, if it was set; it may be that of a cascade. */
  readonly defaultModel?: string | undefined;
  /** Number of proxies in front whose `X-Forwarded-For` is trusted; default 0. */
  readonly trustedProxies?: number;
}

/** Routes of another folder, such as the console, behind the same keys, limits and error form. */
export interface Extension {
  /** Path the router is mounted at, such as `/console`. */
  readonly path: string;
  readonly access: 'public' | 'rerank' | 'admin';
  readonly router: Router | RequestHandler;
  /** Whether JSON bodies are parsed before the router; default true. */
  readonly json?: boolean;
}

/** The processes that serve the same requests, for answers to changes that one of them makes. */
export interface Replicas {
  /** Processes, this one included. */
  readonly count: number;
  /** Name of this process's machine or pod. */
  readonly instance: string;
  /** Whether processes follow changes of the registry folder. */
  readonly watchesFolder: boolean;
  /** Whether all processes read one database of experiments. */
  readonly sharesExperiments: boolean;
}

export interface HttpDeps {
  readonly reranker: Reranker;
  readonly tokenReader: TokenReader;
  readonly registry: ModelRegistry;
  /** If absent, the routes of kept passages answer `passage_cache_off`. */
  readonly passages?: PassagesApi;
  readonly options: HttpOptions;
  /** Read at each request: they may change. Without keys, scope `admin` is for clients on this machine and every other route for all. */
  readonly keys: readonly ApiKey[];
  /** Counts the bytes that requests hold between body and answer. */
  readonly bytes: ByteAccount;
  readonly telemetry: HttpTelemetry;
  readonly readiness: Readiness;
  info(): ServiceInfo;
  /** If absent, this process serves alone. */
  readonly replicas?: Replicas;
  /** If absent, the routes of experiments answer `not_found`. */
  readonly experiments?: ExperimentsApi;
  readonly extensions?: readonly Extension[];
}
