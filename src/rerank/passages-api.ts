import type { CutOptions } from './pair-settings.ts';
import type { RerankRequest, Timings } from './rerank-types.ts';

/** Passages to be read before they are asked for. */
export interface WarmRequest
  extends Omit<CutOptions, 'instruction' | 'truncation' | 'maxQueryTokens'>,
    Pick<RerankRequest, 'model' | 'passages' | 'priority' | 'deadlineMs' | 'signal' | 'subject'> {}

/** What became of them. A passage whose windows are kept counts once. */
export interface WarmAnswer {
  readonly model: string;
  readonly version: string;
  /** Read now and kept. */
  readonly stored: number;
  /** Kept already, those equal to an earlier one included. */
  readonly present: number;
  /** Read now, without room to keep them. */
  readonly notKept: number;
  /** Places of passages of which tokens were left out, or all. */
  readonly tooLong: readonly number[];
  /** Those of them that the model's length would cut, which the request does not allow. */
  readonly leftOut: number;
  /** Tokens read now. */
  readonly tokens: number;
  /** What is kept of these passages. */
  readonly bytes: number;
  readonly timings: Timings;
}

export interface KeptCounts {
  readonly entries: number;
  readonly bytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly unkept: number;
}

export interface KeptReport extends KeptCounts {
  readonly limitBytes: number;
  readonly models: readonly (KeptCounts & {
    readonly model: string;
    readonly version: string;
    readonly variant: string;
  })[];
  /** The file on disk, where there is one. */
  readonly file?: {
    readonly entries: number;
    readonly bytes: number;
    readonly unwritten: number;
    readonly damaged: number;
  };
}

/** A version by name and number; without a number all versions of the model, also those that are gone. */
export interface VersionName {
  readonly name: string;
  readonly version?: string;
}

/** What was removed. */
export interface Freed {
  readonly entries: number;
  readonly bytes: number;
}

/** The kept passages of all models. */
export interface PassagesApi {
  /** Whether entries of all callers answer each other's requests. */
  readonly shared: boolean;
  /**
   * Reads passages in the lane `batch`, unless they are kept already.
   * @throws WinnowError `invalid_field` (`model`) for a model that keeps nothing of passages; those of registry, tokenizer and scheduler.
   */
  warm(request: WarmRequest): Promise<WarmAnswer>;
  /** @param owner Name of a caller, whose entries alone count; undefined: all. */
  report(owner?: string): KeptReport;
  /**
   * Removes entries, also from the file.
   * @param versions whose entries; undefined: all.
   * @param owner as for `report`.
   */
  clear(versions: readonly VersionName[] | undefined, owner?: string): Promise<Freed>;
}
