/*
 * Answers of `/v1/experiments` as far as the console reads them; test/console/wire.test.ts holds them against what the server sends.
 */

export type Interval = readonly [low: number, high: number];

export interface Inference {
  readonly interval: Interval;
  /** Relative to control; absent where control is 0. */
  readonly liftInterval?: Interval;
  readonly p: number;
}

export interface Comparison {
  readonly arm: string;
  readonly difference: number;
  readonly lift?: number;
  readonly fixed: Inference;
  readonly alwaysValid: Inference;
}

export interface MetricSection {
  readonly name: string;
  readonly kind: string;
  readonly direction: 'up' | 'down';
  readonly numerator?: string;
  readonly denominator?: string;
  readonly primary: boolean;
  readonly cuped?: { readonly varianceReduction: number };
  readonly arms: readonly {
    readonly arm: string;
    readonly n: number;
    readonly value: number;
    readonly variance: number;
  }[];
  readonly comparisons: readonly (Comparison & {
    readonly adjustedP: number;
    readonly effect: 'better' | 'worse' | 'none';
  })[];
}

export interface ArmSection {
  readonly arm: string;
  readonly model: string;
  readonly control: boolean;
  readonly units: number;
  readonly requests: number;
  readonly failed: number;
  readonly fallbacks: number;
  readonly p50Ms?: number;
  readonly p95Ms?: number;
  readonly tripped?: string;
}

export interface CreditSection {
  readonly metric: string;
  readonly requests: number;
  readonly preferences: readonly {
    readonly arm: string;
    readonly wins: number;
    readonly losses: number;
    readonly ties: number;
    readonly preference: number;
    readonly bootstrap: Interval;
    readonly alwaysValid: Inference;
  }[];
}

export interface Report {
  readonly experiment: string;
  readonly mode: 'split' | 'interleave' | 'shadow';
  readonly alpha: number;
  readonly from?: number;
  readonly to?: number;
  readonly arms: readonly ArmSection[];
  readonly crossed: number;
  readonly sampleRatio?: {
    readonly statistic: number;
    readonly df: number;
    readonly p: number;
    readonly ok: boolean;
    readonly arms: readonly { readonly arm: string; readonly units: number; readonly expected: number }[];
  };
  readonly metrics: readonly MetricSection[];
  readonly credit: readonly CreditSection[];
  readonly shadow: Readonly<
    Record<string, Readonly<Record<string, { readonly mean: number; readonly requests: number }>>>
  >;
  readonly warnings: readonly string[];
  readonly verdict: {
    readonly state: 'empty' | 'sample_ratio' | 'win' | 'loss' | 'open' | 'observed';
    readonly winner?: string;
    readonly text: string;
  };
}

export interface Series {
  readonly points: readonly {
    readonly at: number;
    readonly units: number;
    readonly comparisons: readonly (Comparison & { readonly metric: string })[];
  }[];
}

export interface Definition {
  readonly name: string;
  readonly mode: 'split' | 'interleave' | 'shadow';
  readonly unit: string;
  readonly coverage: number;
  readonly control: string;
  readonly arms: readonly { readonly name: string; readonly model: string; readonly weight: number }[];
  readonly metrics: readonly { readonly name: string; readonly kind: string; readonly direction: 'up' | 'down' }[];
  readonly guardrails: readonly { readonly metric: string; readonly max: number; readonly minRequests: number }[];
  readonly start?: string | undefined;
  readonly end?: string | undefined;
}

export interface View {
  readonly name: string;
  readonly mode: 'split' | 'interleave' | 'shadow';
  readonly status: 'running' | 'scheduled' | 'ended' | 'disabled';
  readonly source: 'file' | 'api';
  readonly configHash: string;
  readonly tripped: readonly string[];
  readonly definition: Definition;
}

export interface ViewList {
  readonly experiments: readonly View[];
}

export interface AuditList {
  readonly audits: readonly {
    readonly at: number;
    readonly who: string;
    readonly action: 'created' | 'changed' | 'removed' | 'tripped';
    readonly configHash: string;
    readonly diff: string;
  }[];
}
