import type { InferenceRow, LoadSpec } from '../inference-types.ts';

/** A graph to rewrite, and how the rewritten one is checked. */
export interface RewriteJob {
  /** ONNX file as exported. */
  readonly source: string;
  /** Where the rewritten file is written. */
  readonly target: string;
  readonly spec: Pick<LoadSpec, 'padId' | 'firstPosition' | 'maxLength' | 'reduction'>;
  /** Rows that both graphs score, alone and together. */
  readonly rows: readonly InferenceRow[];
  /** Largest difference of a score, relative to those above 1; 0: equal bit for bit. */
  readonly tolerance: number;
  /** How many times as fast the rewritten graph has to be, by processor time. */
  readonly leastGain: number;
}

export type RewriteOutcome =
  | {
      readonly kind: 'rewritten';
      readonly nodes: readonly [before: number, after: number];
      /** Largest difference of a score, relative to those above 1. */
      readonly difference: number;
      /** Processor time of the graph as exported divided by that of the rewritten one. */
      readonly speed: number;
    }
  /** The graph as exported is the better one; the same files give the same outcome. */
  | { readonly kind: 'kept'; readonly reason: string }
  /** Something else was in the way, such as a full disk. */
  | { readonly kind: 'failed'; readonly reason: string };

/** What is served of a graph. */
export interface Rewritten {
  /** The rewritten file; undefined where the graph is served as exported. */
  readonly file: string | undefined;
  /** What was done, or why nothing was; one sentence. */
  readonly note: string;
}

export interface RewriteRequest {
  /** Absolute paths: the ONNX file and its external data. */
  readonly files: readonly [string, ...string[]];
  /** sha256 of the ONNX file. */
  readonly sha256: string;
  /** Size of all files. */
  readonly bytes: number;
  readonly spec: RewriteJob['spec'];
  readonly rows: readonly InferenceRow[];
  readonly tolerance: number;
}

/** Rewrites graphs of other tools for this machine and remembers them. */
export interface GraphRewriter {
  /** Never throws: a graph that cannot be rewritten is served as exported, and the note says why. */
  rewrite(request: RewriteRequest): Promise<Rewritten>;
}
