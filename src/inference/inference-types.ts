/*
 * The port between the scheduler and the processes that own ONNX sessions. A row here is a `EncodedRow` of tokenization seen
 * structurally, so that this layer depends on neither tokenizers nor HTTP.
 */
export interface InferenceRow {
  readonly ids: Int32Array;
  readonly secondSegment: number;
}

export type Provider = 'cpu' | 'cuda' | 'webgpu';

/** `auto` takes CUDA where an NVIDIA device is, else WebGPU where a hardware adapter is, else the CPU. */
export type ProviderSetting = Provider | 'auto';

/** How logits of shape [N, k] become one score a row. */
export type Reduction =
  | { readonly kind: 'single' }
  /** Logit of one class minus logsumexp of the others, so that its sigmoid is the softmax probability. */
  | { readonly kind: 'class'; readonly index: number };

export interface LoadSpec {
  /** `name@version`; unique a loaded version. */
  readonly key: string;
  /** Absolute path of the ONNX file, already checked by the registry. */
  readonly file: string;
  readonly padId: number;
  readonly maxLength: number;
  readonly reduction: Reduction;
}

export interface LoadedModel {
  readonly key: string;
  readonly provider: Provider;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly loadMs: number;
  /** Growth of the host's resident memory by this model, in bytes; at least the size of its ONNX file. */
  readonly bytes: number;
}

export interface BatchScores {
  /** One fp32 logit a row, in the batch's order. */
  readonly scores: Float32Array;
  /** Time inside the engine, in milliseconds. */
  readonly inferMs: number;
  /** Index of the host that ran it. */
  readonly host: number;
}

/** Runs batches in supervised child processes. */
export interface HostPool {
  /** Hosts that can run batches side by side. */
  readonly size: number;
  readonly provider: Provider;
  /** Loads on every host (and again on every host started later); the first answer's facts are returned. */
  load(spec: LoadSpec): Promise<LoadedModel>;
  unload(key: string): Promise<void>;
  /**
   * Scores a batch on the least busy host. A batch lost with its host is retried once on another; a batch that fails is split down to
   * the row that fails alone.
   * @throws WinnowError `host_lost`, `inference_failed` (names the row), `not_a_number`.
   */
  run(key: string, rows: readonly InferenceRow[], signal?: AbortSignal): Promise<BatchScores>;
  close(): Promise<void>;
}
