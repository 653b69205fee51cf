/** One candidate of an exposed request: first those shown, in their order, then the rest by falling score. */
export interface ExposedItem {
  /** First 16 hex digits of the passage's SHA-256: enough to join, nothing to read. */
  readonly digest: string;
  /** Place in the request. */
  readonly index: number;
  readonly score: number;
  /** Interleaving: the arm that placed it. */
  readonly team?: string;
  /** Interleaving: 0-based rank in each arm's own ranking, by arm name. */
  readonly ranks?: Readonly<Record<string, number>>;
  /** `false`: a candidate that was scored but not in the answer (`top_n`); such ones follow those shown. */
  readonly shown?: false;
}

/** What is written once a request that an experiment touched. */
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
  readonly truncated: number;
  readonly items: readonly ExposedItem[];
  /** Shadow mode: rank differences of each other arm. They come behind the answer, in rows that repeat the rest. */
  readonly shadow?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface Outcome {
  /** Idempotency key: a second outcome with it changes nothing. */
  readonly key: string;
  readonly at: number;
  readonly metric: string;
  readonly value: number;
  readonly requestId?: string;
  /** Keyed hash. */
  readonly unit?: string;
  /** Place in the request of the passage clicked. */
  readonly item?: number;
}

/** What the analysis sees of a unit. Sums are over the unit's requests after its first exposure; `before` over a window before it. */
export interface UnitRow {
  readonly unit: string;
  readonly arm: string;
  readonly firstAt: number;
  readonly exposures: number;
  readonly sums: Readonly<Record<string, number>>;
  readonly before: Readonly<Record<string, number>>;
  /** Saw more than one arm: left out of the analysis and counted. */
  readonly crossed: boolean;
}

/** What happened to a unit in a stretch of time. */
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

/** A definition as it was last put, by whom and from where. */
export interface StoredDefinition {
  readonly name: string;
  readonly source: 'file' | 'api';
  readonly at: number;
  readonly who: string;
  readonly configHash: string;
  /** JSON of the definition. */
  readonly definition: string;
}

export type OutcomeStatus = 'stored' | 'duplicate' | 'unknown';

export interface ShadowFigure {
  readonly mean: number;
  readonly requests: number;
}

export interface ArmTraffic {
  readonly arm: string;
  readonly requests: number;
  readonly failed: number;
  /** Requests that control answered in the arm's place. */
  readonly fallbacks: number;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** Exposures and outcomes. Every method that returns after a write has it on disk: a kill -9 later loses nothing acknowledged. */
export interface ExperimentStore {
  readonly kind: 'sqlite' | 'postgres';
  /** A request's exposure to an experiment that is there already changes nothing, but its new shadow figures are kept. */
  addExposures(exposures: readonly Exposure[]): Promise<void>;
  /** One transaction. `unknown`: neither the request nor the unit was seen; nothing is stored of it. */
  addOutcomes(outcomes: readonly Outcome[]): Promise<readonly OutcomeStatus[]>;
  /**
   * One row a unit, in no order, streamed. Forced exposures are left out; failed ones and those that control answered count for the arm
   * they were assigned to, so that an arm cannot win by failing for those it serves badly.
   */
  units(experiment: string, range: { readonly until?: number; readonly beforeMs: number }): AsyncIterable<UnitRow>;
  /** What units did after `after` and up to `until`; adding up slices gives what `units` gives. */
  slice(experiment: string, range: { readonly after: number; readonly until: number }): AsyncIterable<UnitSlice>;
  /** Interleaved exposures that got outcomes of the metric. */
  clicks(experiment: string, metric: string, until?: number): AsyncIterable<ClickedExposure>;
  /** Mean of each shadow figure, by arm. */
  shadow(experiment: string): Promise<Readonly<Record<string, Readonly<Record<string, ShadowFigure>>>>>;
  traffic(experiment: string, until?: number): Promise<readonly ArmTraffic[]>;
  /** A change that is the newest of its experiment already is not written again: several servers may report what they all see. */
  audit(entry: AuditEntry): Promise<void>;
  audits(experiment?: string): Promise<readonly AuditEntry[]>;
  definitions(): Promise<readonly StoredDefinition[]>;
  /** Keeps a definition and its audit entry in one transaction. */
  putDefinition(definition: StoredDefinition, entry: AuditEntry): Promise<void>;
  removeDefinition(name: string, entry: AuditEntry): Promise<void>;
  /** The key of unit hashes, made at random when the store is new. */
  secret(): Promise<string>;
  /** Removes exposures and outcomes older than this; says how many. */
  prune(beforeAt: number): Promise<number>;
  close(): Promise<void>;
}
