import type { Experiment } from '../definitions/definition.ts';
import type { ShadowFigure } from '../records.ts';
import type { CreditSection } from './credit.ts';
import type { MetricSection } from './metric-sections.ts';
import type { DefinitionSpan, VersionSpan } from './period.ts';
import type { SampleRatio } from './sample-ratio.ts';

export const ALPHA = 0.05;

/** How far back before a unit's first exposure its covariates reach: 28 days, whole weeks. */
export const BEFORE_MS = 28 * 86_400_000;

export interface ArmSection {
  readonly arm: string;
  readonly model: string;
  readonly control: boolean;
  /** Distinct units, those that saw two arms left out. */
  readonly units: number;
  readonly requests: number;
  readonly failed: number;
  /** Requests that control answered in the arm's place. */
  readonly fallbacks: number;
  readonly p50Ms?: number;
  readonly p95Ms?: number;
  /** Why a guardrail took it out. */
  readonly tripped?: string;
}

export interface Verdict {
  /**
   * `empty`: no data yet; `sample_ratio`: units went missing, nothing can be concluded; `win`: an arm is better and nothing is worse;
   * `loss`: every arm other than control is worse in some metric or was taken out; `open`: neither, collect more or stop; `observed`:
   * shadow figures say how rankings differ, not which is better.
   */
  readonly state: 'empty' | 'sample_ratio' | 'win' | 'loss' | 'open' | 'observed';
  readonly winner?: string;
  readonly text: string;
}

export interface ExperimentReport {
  readonly experiment: string;
  readonly mode: Experiment['mode'];
  readonly configHash: string;
  readonly alpha: number;
  /** First and last exposure, milliseconds since 1970; absent where there is none. */
  readonly from?: number;
  readonly to?: number;
  /** Exposures before are left out, milliseconds since 1970; absent where all count. */
  readonly since?: number;
  /** Every definition with exposures, oldest first, counted or not. */
  readonly definitions: readonly DefinitionSpan[];
  /** Every version that answered for an arm, counted or not. */
  readonly versions: readonly VersionSpan[];
  readonly arms: readonly ArmSection[];
  /** Units that saw more than one arm. */
  readonly crossed: number;
  /** Weights changed in the period, and so many units changed arm with them that those left are no random sample. */
  readonly reshuffled?: { readonly share: number; readonly configHash: string };
  /** Split only. */
  readonly sampleRatio?: SampleRatio;
  readonly metrics: readonly MetricSection[];
  /** Interleaving only, one section for each metric. */
  readonly credit: readonly CreditSection[];
  /** Shadow only: mean of each figure, by arm. */
  readonly shadow: Readonly<Record<string, Readonly<Record<string, ShadowFigure>>>>;
  readonly warnings: readonly string[];
  readonly verdict: Verdict;
}
