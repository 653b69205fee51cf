import type { ErrorCode } from '../errors.ts';
import type { AuditEntry, OutcomeStatus } from './records.ts';

/*
 * What the re-ranker and experiments exchange. The re-ranker imports these types; experiments import nothing of the re-ranker, whose
 * requests, rankings and answers carry more than is named here.
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

/** The part of a request that experiments read. */
export interface HookRequest {
  readonly requestId: string;
  readonly model?: string;
  readonly query: string;
  readonly passages: readonly string[];
  readonly subject?: Subject;
  /** The client chose the deadline: an answer that misses it says nothing about an arm. */
  readonly clientDeadline?: boolean;
}

export interface RankedPassage {
  /** Place of the passage in the request. */
  readonly index: number;
  /** fp32 logit. */
  readonly score: number;
  /** After the activation; 0–1 for models with a sigmoid. */
  readonly relevanceScore: number;
  /** Interleaving: the arm that placed the passage. */
  readonly team?: string;
}

/** One arm's whole ranking of a request, best first. */
export interface ArmRanking {
  readonly arm: string;
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly RankedPassage[];
  readonly truncated: readonly boolean[];
  readonly timings: { readonly totalMs: number };
}

interface HookAnswer {
  readonly model: string;
  readonly version: string;
  readonly ranking: readonly RankedPassage[];
  readonly truncated: readonly boolean[];
  /** Tokens of the query that some pair left out. */
  readonly queryCut: number;
  /** What the passage cache did; undefined where no model looks passages up. */
  readonly kept?: { readonly hits: number };
}

export interface ArmChoice {
  readonly arm: string;
  /** The reference by which the registry is asked for the arm's model. */
  readonly model: string;
  /** What the arm's model looks for, whatever the request says. */
  readonly instruction?: string;
}

/** What experiments want done with one request. The hook gets the same object back, so a decision may carry more (unit, hash version). */
export interface Decision {
  readonly experiment: string;
  /** Whose rankings make the answer: one arm, or several that are interleaved. */
  readonly arms: readonly [ArmChoice, ...ArmChoice[]];
  /** Answers alone where another arm cannot: its model is missing, refused or failing. */
  readonly control: ArmChoice;
  /** Scored in the lowest lane after the answer. */
  readonly shadows: readonly ArmChoice[];
}

/** A request under experiment that has been answered, or has failed for good. One exposure is stored of it for each experiment. */
export interface FinishedRequest<D extends Decision = Decision> {
  readonly decision: D;
  readonly request: HookRequest;
  /** Milliseconds from the request's start. */
  readonly latencyMs: number;
  /** Absent where the request failed. */
  readonly answer?: HookAnswer;
  /** Whole rankings of the arms that were scored: those decided on, or control alone. */
  readonly arms: readonly ArmRanking[];
  /** An arm could not answer, so control did. */
  readonly fallback?: { readonly arm: string; readonly code: ErrorCode };
  /** Why the request failed. */
  readonly error?: ErrorCode;
}

/** A shadow arm that has been scored, or could not be. */
export interface FinishedShadow<D extends Decision = Decision> {
  readonly decision: D;
  readonly request: HookRequest;
  /** What the client got. */
  readonly answer: HookAnswer;
  readonly arm: string;
  readonly ranking?: ArmRanking;
  readonly error?: ErrorCode;
}

/**
 * Where experiments take part in re-ranking. The two `record` methods run once the answer is made; none may block: what has to be stored
 * is queued. A hook that throws costs the experiment, never the answer.
 */
export interface ExperimentHook<D extends Decision = Decision> {
  /** Returns nothing for a request outside all experiments. It is never called for cascades. */
  decide(request: HookRequest): D | undefined | Promise<D | undefined>;
  /** Merges the rankings of two or more arms, best first: each passage once, with its `team`. */
  interleave(decision: D, request: HookRequest, arms: readonly ArmRanking[]): readonly RankedPassage[];
  recordRequest(finished: FinishedRequest<D>): void;
  recordShadow(finished: FinishedShadow<D>): void;
}

/** Receives everything worth a log line or a metric; must not throw. */
export interface ExperimentObserver {
  /** Definitions in effect, after each change. */
  onDefinitions?(counts: {
    readonly defined: number;
    readonly running: number;
    /** Those that would run, and are off until the database has been reached. */
    readonly off?: number;
    readonly definitions?: readonly { readonly name: string; readonly arms: readonly { readonly name: string }[] }[];
  }): void;
  onChange?(entry: AuditEntry): void;
  /** A change of a running experiment moves units or begins figures anew; one line to read. */
  onEffect?(effect: { readonly experiment: string; readonly effect: string }): void;
  /** Something is wrong though requests are answered: a broken file, a database that is down, a flag system that fails, a clock that jumps. */
  onProblem?(problem: { readonly where: 'file' | 'database' | 'provider' | 'clock'; readonly reason: string }): void;
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
  /** A request inside an experiment had an id that counts as none, such as `undefined`; the id is one of the list. */
  onPlaceholder?(request: { readonly experiment: string; readonly id: string }): void;
  /** Exposures that wait for the database. */
  onBuffer?(rows: number): void;
  onStored?(rows: number): void;
  onLost?(rows: number, reason: 'buffer_full' | 'closed' | 'file_lost'): void;
  onOutcome?(status: OutcomeStatus, count: number): void;
}
