/** One candidate of an exposed request. Candidates that were shown come first, in their order, then the others by falling score. */
export interface ExposedItem {
  /** First 16 hex digits of the passage's SHA-256: passages can be joined on it, not read from it. */
  readonly digest: string;
  /** Place in the request. */
  readonly index: number;
  readonly score: number;
  /** Interleaving: the arm that placed it. */
  readonly team?: string;
  /** Interleaving: 0-based rank in each arm's own ranking, by arm name. */
  readonly ranks?: Readonly<Record<string, number>>;
  /** `false`: the candidate was scored but is not in the answer (`top_n`). */
  readonly shown?: false;
}

/** The stored record of one request in one experiment. Before it is stored it is a `PendingExposure` (recording/exposures.ts). */
export interface Exposure {
  readonly requestId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly experiment: string;
  readonly configHash: string;
  readonly mode: 'split' | 'interleave' | 'shadow';
  readonly unitKind: 'user' | 'session' | 'query';
  /** Keyed hash; the id itself is never stored. */
  readonly unit: string;
  readonly hashVersion: number;
  readonly arm: string;
  /** Arm → `model@version` that answered. */
  readonly models: Readonly<Record<string, string>>;
  /** Arm forced by header: kept, never analyzed. */
  readonly forced: boolean;
  /** Why control answered instead of the arm: `missing`, `failed`, `guardrail`. */
  readonly fallback?: string;
  readonly failed: boolean;
  readonly latencyMs: number;
  /** Passages that were truncated. */
  readonly truncated: number;
  /** Tokens of the query that were left out; absent if there are none. */
  readonly queryTruncated?: number;
  /** Passages of the request; absent in rows of older releases. */
  readonly passages?: number;
  /** Passages whose vector or states were in the passage cache, over the arms that answered; absent where none of them looks passages up. */
  readonly keptPassages?: number;
  readonly items: readonly ExposedItem[];
  /** Shadow mode: figures of each shadow arm. They are known after the answer, and stored by a second exposure that repeats the rest. */
  readonly shadow?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface Outcome {
  /** Idempotency key: a second outcome with the same key and metric changes nothing. */
  readonly key: string;
  readonly at: number;
  /** How far the clock that `at` was read from may be behind that of exposures, in milliseconds; 0 if absent. */
  readonly behindMs?: number;
  readonly metric: string;
  readonly value: number;
  readonly requestId?: string;
  /** Keyed hash. */
  readonly unit?: string;
  /** Place in the request of the passage clicked. */
  readonly item?: number;
}

/** A unit's data for the analysis. `sums` are over its requests after its first exposure, `before` over a window before it. */
export interface UnitRow {
  readonly unit: string;
  readonly arm: string;
  /** The arm of its first exposure; another than `arm` only where the unit saw several. */
  readonly firstArm: string;
  readonly firstAt: number;
  /** The definition in force at its first exposure. */
  readonly configHash: string;
  readonly exposures: number;
  readonly sums: Readonly<Record<string, number>>;
  readonly before: Readonly<Record<string, number>>;
  /** Saw more than one arm: left out of the analysis and counted. */
  readonly crossed: boolean;
}

/** A unit's data in a time range. */
export interface UnitSlice {
  readonly unit: string;
  readonly exposures: number;
  readonly sums: Readonly<Record<string, number>>;
}

export interface ClickedExposure {
  readonly requestId: string;
  readonly unit: string;
  readonly at: number;
  readonly items: readonly ExposedItem[];
  /** Place in the request → sum of outcome values. */
  readonly clicks: ReadonlyMap<number, number>;
}

export interface AuditEntry {
  readonly at: number;
  readonly who: string;
  readonly experiment: string;
  readonly action: 'created' | 'changed' | 'removed' | 'tripped';
  readonly configHash: string;
  /** What changed, one line a field: `- path: old`, `+ path: new`. Tripped: the arm and why. */
  readonly diff: string;
}

/** A definition as it was last put, with source and author. */
export interface StoredDefinition {
  readonly name: string;
  readonly source: 'file' | 'api';
  readonly at: number;
  readonly who: string;
  readonly configHash: string;
  /** JSON of the definition. */
  readonly definition: string;
}

/** `conflict`: the key and metric are stored with another value, request, unit or item, and stay so. */
export type OutcomeStatus = 'stored' | 'duplicate' | 'conflict' | 'unknown';

export interface ShadowFigure {
  readonly mean: number;
  readonly requests: number;
}

/** Requests of an arm that the same versions answered under the same definition. */
export interface ArmContent {
  readonly arm: string;
  readonly mode: string;
  readonly configHash: string;
  /** Arm → `model@version` that answered. */
  readonly models: Readonly<Record<string, string>>;
  readonly requests: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** An arm that a unit was assigned to under a definition. */
export interface StoredAssignment {
  readonly arm: string;
  readonly configHash: string;
}

export interface ArmTraffic {
  readonly arm: string;
  readonly requests: number;
  readonly failed: number;
  /** Requests that control answered in the arm's place. */
  readonly fallbacks: number;
  /** Requests whose unit is their query. */
  readonly byQuery: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** Of requests that the arm itself answered; absent where there is none. */
  readonly p50Ms?: number;
  readonly p95Ms?: number;
}

/** What a report counts of one exposure. */
export interface ExposureFact {
  readonly unit: string;
  readonly arm: string;
  readonly at: number;
  readonly failed: boolean;
  /** Control answered in the arm's place. */
  readonly fallback: boolean;
  /** The unit is the query. */
  readonly byQuery: boolean;
  readonly latencyMs: number;
  readonly mode: string;
  readonly configHash: string;
  /** JSON of the versions that answered, by arm. */
  readonly models: string;
}

/** What was added to an experiment since an earlier read. */
export interface Changes {
  /** For the next read of the same store. */
  readonly cursor: unknown;
  /** Units whose row is another than at the earlier read; empty if there was none. */
  readonly units: readonly string[];
  /** Rows were removed since the earlier read: what it gave is no longer valid, and nothing was read now. */
  readonly isReset: boolean;
}

/** Stores exposures and outcomes. Every write is on disk when its method returns: a later kill -9 loses nothing that was acknowledged. */
export interface ExperimentStore {
  readonly kind: 'sqlite' | 'postgres';
  /** Adds exposures. A second one of the same request and experiment changes nothing, but its new shadow figures are kept. */
  addExposures(exposures: readonly Exposure[]): Promise<void>;
  /**
   * Adds outcomes in one transaction. `unknown`: there is no exposure of the request or unit, and the outcome is not stored. An outcome
   * earlier than the exposure it names gets that exposure's time; one that names only its unit, that of an exposure up to `behindMs` later.
   */
  addOutcomes(outcomes: readonly Outcome[]): Promise<readonly OutcomeStatus[]>;
  /** Returns the number of passages of those requests of which it is known. */
  passages(requestIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /**
   * Streams one row for each unit, or each of `among`, in no particular order. Forced exposures are left out. Failed ones, and those that control
   * answered, count for the arm that was assigned, so that an arm cannot win by failing on the requests it serves badly. Exposures before
   * `since` count only in that what came after them is no covariate.
   */
  units(
    experiment: string,
    range: {
      readonly since?: number | undefined;
      readonly until?: number | undefined;
      readonly beforeMs: number;
      readonly among?: readonly string[];
    },
  ): AsyncIterable<UnitRow>;
  /**
   * Reads what was added to an experiment since an earlier read; all exposures if `earlier` is absent. Forced exposures are left out. Rows that are
   * committed meanwhile, by any server, belong to the next read: each exposure is read once.
   * @param visit gets the exposures, in pages and in no particular order.
   */
  changes(experiment: string, earlier: unknown, visit: (exposures: readonly ExposureFact[]) => void): Promise<Changes>;
  /** Streams what units did after `after` and up to `until`. All slices added up give the same as `units`. */
  slice(
    experiment: string,
    range: { readonly since?: number | undefined; readonly after: number; readonly until: number },
  ): AsyncIterable<UnitSlice>;
  /** Streams interleaved exposures that have outcomes of the metric. */
  clicks(experiment: string, metric: string, until?: number, since?: number): AsyncIterable<ClickedExposure>;
  /** Returns the mean of each shadow figure, by arm. */
  shadow(
    experiment: string,
    until?: number,
    since?: number,
  ): Promise<Readonly<Record<string, Readonly<Record<string, ShadowFigure>>>>>;
  traffic(experiment: string, until?: number, since?: number): Promise<readonly ArmTraffic[]>;
  /** Returns the arms a unit was assigned to in split requests, oldest first; forced ones are left out. */
  assignments(experiment: string, unit: string): Promise<readonly StoredAssignment[]>;
  /** Returns which versions answered for each arm, under which definitions, oldest first. */
  contents(experiment: string, until?: number): Promise<readonly ArmContent[]>;
  /** Adds an audit entry. One that is the newest of its experiment already is not added again, because several servers may report the same. */
  audit(entry: AuditEntry): Promise<void>;
  audits(experiment?: string): Promise<readonly AuditEntry[]>;
  definitions(): Promise<readonly StoredDefinition[]>;
  /** Stores a definition and its audit entry in one transaction. */
  putDefinition(definition: StoredDefinition, entry: AuditEntry): Promise<void>;
  removeDefinition(name: string, entry: AuditEntry): Promise<void>;
  /** Returns the key of unit hashes. It is made at random when the store is new. */
  secret(): Promise<string>;
  /**
   * Removes exposures and outcomes older than `beforeAt`, at most a day's worth of each: what is later than a day after the oldest stays for
   * the next call. @returns how many.
   */
  prune(beforeAt: number): Promise<number>;
  close(): Promise<void>;
}
