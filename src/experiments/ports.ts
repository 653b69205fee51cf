import type { ErrorCode } from '../errors.ts';
import type { AuditEntry } from './records.ts';

/*
 * Requests and rankings as experiments see them. The re-ranker's own types fit structurally (src/main/open-experiments.ts is where the compiler
 * checks it): no part imports the other.
 */

/** What a request may be assigned and targeted by. */
export interface Subject {
  readonly unit?: string;
  readonly user?: string;
  readonly session?: string;
  /** Name of the API key. */
  readonly key?: string;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly forcedArm?: string;
}

export interface HookRequest {
  readonly requestId: string;
  readonly model?: string;
  readonly query: string;
  readonly passages: readonly string[];
  readonly subject?: Subject;
}

export interface HookRanked {
  readonly index: number;
  readonly score: number;
  readonly relevanceScore: number;
  readonly team?: string;
}

/** One arm's whole ranking of a request, best first. */
export interface HookArm {
  readonly arm: string;
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly HookRanked[];
  readonly truncated: readonly boolean[];
  readonly timings: { readonly totalMs: number };
}

export interface HookAnswer {
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly HookRanked[];
  readonly truncated: readonly boolean[];
}

export interface ArmChoice {
  readonly arm: string;
  readonly model: string;
}

/** What a request under experiment came to, as the re-ranker tells it. */
export interface Exposed<D> {
  readonly decision: D;
  readonly request: HookRequest;
  readonly latencyMs: number;
  readonly answer?: HookAnswer;
  readonly arms: readonly HookArm[];
  readonly fallback?: { readonly arm: string; readonly code: ErrorCode };
  readonly error?: ErrorCode;
}

export interface Shadowed<D> {
  readonly decision: D;
  readonly request: HookRequest;
  readonly answer: HookAnswer;
  readonly arm: string;
  readonly ranking?: HookArm;
  readonly error?: ErrorCode;
}

export type LossReason = 'buffer_full' | 'closed';

/** Told of everything worth a log line or a metric; must not throw. */
export interface ExperimentObserver {
  /** Definitions in effect, after each change. */
  onDefinitions?(counts: { readonly defined: number; readonly running: number }): void;
  onChange?(entry: AuditEntry): void;
  /** Something is wrong though requests are answered: a broken file, a database that is down, a flag system that fails. */
  onProblem?(problem: { readonly where: 'file' | 'database' | 'provider'; readonly reason: string }): void;
  onExposure?(exposure: {
    readonly experiment: string;
    readonly arm: string;
    readonly forced: boolean;
    readonly fallback?: string;
    readonly code?: ErrorCode;
  }): void;
  onShadow?(shadow: {
    readonly experiment: string;
    readonly arm: string;
    readonly figures?: Readonly<Record<string, number>>;
    readonly code?: ErrorCode;
  }): void;
  onBuffer?(rows: number): void;
  onStored?(rows: number): void;
  onLost?(rows: number, reason: LossReason): void;
  onOutcome?(status: 'stored' | 'duplicate' | 'unknown', count: number): void;
}
