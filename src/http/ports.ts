import type { RequestHandler, Router } from 'express';
import type { ErrorCode } from '../errors.ts';
import type { ExperimentsApi } from '../experiments/admin.ts';
import type { ModelRegistry } from '../registry/registry-types.ts';
import type { Reranker, Timings } from '../rerank/types.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { ByteAccount } from './byte-account.ts';
import type { ApiKey } from './keys.ts';

/** The little of a logger the HTTP layer needs; pino's has it. */
export interface HttpLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** One finished request, for metrics. Never holds text of a query or a passage. */
export interface RequestEvent {
  readonly requestId: string;
  readonly method: string;
  /** The route's pattern, or `unmatched`. */
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  readonly code?: ErrorCode;
  /** Name of the API key, or `anonymous`. */
  readonly caller?: string;
  /** The rest is there for scoring requests only. */
  readonly dialect?: string;
  readonly lane?: 'interactive' | 'batch' | 'shadow';
  readonly model?: string;
  readonly version?: string;
  readonly experiment?: { readonly name: string; readonly arm: string };
  readonly passages?: number;
  readonly tokens?: number;
  /** Passages of which text was left out. */
  readonly truncated?: number;
  readonly timings?: Timings;
}

export interface HttpTelemetry {
  readonly logger: HttpLogger;
  readonly tracing: Pick<Tracing, 'startRequest'>;
  /** Told when a scoring request arrives; `onRequest` follows for each. */
  onScoringStart?(): void;
  onRequest(event: RequestEvent): void;
  /** The answer of `GET /metrics`. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Whether the service can answer. */
export interface Readiness {
  /** `reason` says what is missing while `ready` is false: no model yet, shutting down. */
  probe(): Promise<{ readonly ready: boolean; readonly reason?: string }>;
  /** True from SIGTERM on: answers then close their connection. */
  draining(): boolean;
}

/** Facts about the process in the answers of `GET /info`, `/meta` and `/v2`, in addition to those of the registry. */
interface ServiceInfo {
  readonly version: string;
  readonly provider: string;
  readonly hosts: number;
  readonly maxBatchTokens: number;
  readonly maxBatchRows: number;
  readonly tokenizationWorkers: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface HttpOptions {
  readonly bodyLimitBytes: number;
  readonly maxPassages: number;
  /** Deadline of a request that names none, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** How long a client may take to send its body, in milliseconds. */
  readonly bodyTimeoutMs: number;
  /** How long a client may take no byte of its answer, in milliseconds. */
  readonly writeTimeoutMs: number;
  readonly corsOrigins: readonly string[];
  /** Requests a minute a key (or address) may make; 0 means no limit. */
  readonly requestsPerMinute: number;
  /** What a request that says nothing about truncation gets; true unless set. */
  readonly autoTruncate?: boolean;
  /** Proxies in front whose `X-Forwarded-For` is believed; 0 unless set. */
  readonly trustedProxies?: number;
}

/** Routes of another part (console, experiments), mounted behind the same keys, limits and error shape. */
export interface Extension {
  /** Where the router is mounted, such as `/v1/experiments`. */
  readonly path: string;
  readonly access: 'public' | 'rerank' | 'admin';
  readonly router: Router | RequestHandler;
  /** Parse JSON bodies before the router; true unless set. */
  readonly json?: boolean;
}

export interface HttpDeps {
  readonly reranker: Reranker;
  readonly registry: ModelRegistry;
  readonly options: HttpOptions;
  /** Without keys everybody may call everything. */
  readonly keys: readonly ApiKey[];
  /** Bytes that requests hold between body and answer. */
  readonly bytes: ByteAccount;
  readonly telemetry: HttpTelemetry;
  readonly readiness: Readiness;
  info(): ServiceInfo;
  /** Without it the routes of experiments answer `not_found`. */
  readonly experiments?: ExperimentsApi;
  readonly extensions?: readonly Extension[];
}
