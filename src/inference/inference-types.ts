/*
 * The interface of the processes that own ONNX sessions. An `EncodedRow` of tokenization is an `InferenceRow` by structure, so that this
 * folder depends on neither tokenizers nor HTTP.
 */
export interface InferenceRow {
  readonly ids: Int32Array;
  readonly secondSegment: number;
  /** Of a row that is scored by the kept states of its passage. `ids` are the passage's, for their number; hosts do not get them. */
  readonly kept?: KeptInput | undefined;
}

/** A query, and what the graph of passages gave for a passage. */
interface KeptInput {
  /** Token ids of the query. Rows of one query share the array, so that it is computed once a batch. */
  readonly query: Int32Array;
  /** States, scales and vector of the passage, as `HostPool.run` gave them in `pieces`. */
  readonly bytes: Uint8Array;
}

export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** `auto`: CUDA with an NVIDIA device, else WebGPU with a hardware adapter, else the CPU. */
export type ProviderSetting = Provider | 'auto';

/** How an output of shape [N, k] becomes the values of each row: one score, or a vector. */
export type Reduction =
  | { readonly kind: 'single' }
  /** Logit of one class minus logsumexp of the others, so that its sigmoid is the softmax probability. */
  | { readonly kind: 'class'; readonly index: number }
  /** All k numbers: the vector of a text. */
  | { readonly kind: 'vector' }
  /** What is kept of a passage: the outputs `states`, `scales` and `vector`, without padding, one after another. */
  | { readonly kind: 'kept' };

export interface LoadSpec {
  /** `name@version`; unique for each loaded version. */
  readonly key: string;
  /** Absolute path of the ONNX file, checked by the registry. */
  readonly file: string;
  /** The file that `file` was rewritten from; it is loaded where that one is gone. */
  readonly exported?: string | undefined;
  readonly padId: number;
  /** `position_ids` of a row's first token, for graphs with that input. Default: 0. */
  readonly firstPosition?: number | undefined;
  readonly maxLength: number;
  readonly reduction: Reduction;
  /** Loads the early score of the file instead of its scores. */
  readonly early?: { readonly value: string; readonly weights: readonly number[] };
}

export interface LoadedModel {
  readonly key: string;
  readonly provider: Provider;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly loadMs: number;
  /** How much the host's resident memory grew, in bytes; at least the size of the ONNX file. */
  readonly bytes: number;
}

export interface BatchScores {
  /** One fp32 logit for each row, in the batch's order; of a bi-encoder, the numbers of each row's vector. Empty with `pieces`. */
  readonly scores: Float32Array;
  /** The bytes that are kept of each row's passage, by a graph of passages. They are views of one buffer. */
  readonly pieces?: readonly Uint8Array[];
  /** Milliseconds in the engine. */
  readonly inferMs: number;
  /** Index of the host that ran it. */
  readonly host: number;
}

/** Scores rows on the spare host of a trial. @throws as `HostPool.run`. */
export type TrialRun = (rows: readonly InferenceRow[]) => Promise<BatchScores>;

/** Runs batches in supervised child processes. */
export interface HostPool {
  /** Number of hosts, which run batches at the same time. */
  readonly size: number;
  readonly provider: Provider;
  /** Loads a model on every host, and on every host started later. Returns the facts of the first answer. */
  load(spec: LoadSpec): Promise<LoadedModel>;
  unload(key: string): Promise<void>;
  /**
   * Loads a model on a spare host that serves nothing and is ended afterwards, and hands it to `test`. Does nothing while no model is loaded: there is
   * nothing to protect then. `load` uses what the trial found. Absent in pools whose graphs run in the calling process.
   * @returns Whether `test` was run.
   * @throws WinnowError `invalid_graph` when the model does not load in time, or ends or blocks its host; whatever `test` throws.
   */
  trial?(spec: LoadSpec, test: (run: TrialRun) => Promise<void>): Promise<boolean>;
  /**
   * Scores a batch on the host that would finish it first. A batch whose host is lost is run once more on another; a batch that fails is halved down to the
   * failing row.
   * @param predictedMs How long the batch should take; a host that needs very much longer is killed before the general limit.
   * @throws WinnowError `host_lost`, `inference_failed` (names the row), `not_a_number`.
   */
  run(key: string, rows: readonly InferenceRow[], signal?: AbortSignal, predictedMs?: number): Promise<BatchScores>;
  close(): Promise<void>;
}
