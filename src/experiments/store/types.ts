/** One passage of an exposed request, in the order it was shown. */
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
  /** Arm forced by header: kept, never analysed. */
  readonly forced: boolean;
  /** Why control answered instead of the arm: `missing`, `failed`, `guardrail`. */
  readonly fallback?: string;
  readonly failed: boolean;
  readonly latencyMs: number;
  readonly truncated: number;
  readonly items: readonly ExposedItem[];
  /** Shadow mode: rank differences of each other arm. */
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
  /** Unified text of what changed, one line a field. */
  readonly diff: string;
}

export interface ArmTraffic {
  readonly arm: string;
  readonly requests: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** Exposures and outcomes. Every method that returns after a write has it on disk: a kill -9 later loses nothing acknowledged. */
export interface ExperimentStore {
  readonly kind: 'sqlite' | 'postgres';
  addExposures(exposures: readonly Exposure[]): Promise<void>;
  /** `unknown`: neither the request nor the unit was seen; nothing is stored. */
  addOutcome(outcome: Outcome): Promise<'stored' | 'duplicate' | 'unknown'>;
  /** Whether anything was exposed to this unit. */
  knowsUnit(unit: string): Promise<boolean>;
  /** One row a unit, in no order, streamed. Forced, failed and fallen-back exposures are left out. */
  units(experiment: string, range: { readonly until?: number; readonly beforeMs: number }): AsyncIterable<UnitRow>;
  /** Interleaved exposures that got outcomes of the metric. */
  clicks(experiment: string, metric: string, until?: number): AsyncIterable<ClickedExposure>;
  /** Mean of each shadow figure, by arm. */
  shadow(experiment: string): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>>;
  traffic(experiment: string): Promise<readonly ArmTraffic[]>;
  audit(entry: AuditEntry): Promise<void>;
  audits(experiment?: string): Promise<readonly AuditEntry[]>;
  /** The key of unit hashes, made at random when the store is new. */
  secret(): Promise<string>;
  /** Removes exposures and outcomes older than this; says how many. */
  prune(beforeAt: number): Promise<number>;
  close(): Promise<void>;
}
