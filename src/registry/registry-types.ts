import type { InferenceRow, Provider, Reduction } from '../inference/inference-types.ts';

/** Turns a score (fp32 logit) into a relevance score. `none` leaves the logit. */
export type Activation = 'sigmoid' | 'none';

/** A version that passed admission and is loaded on every host. */
export interface ServedVersion {
  readonly name: string;
  readonly version: string;
  /** `name@version`, the key inference hosts and caches use. */
  readonly key: string;
  readonly folder: string;
  readonly maxLength: number;
  readonly activation: Activation;
  readonly reduction: Reduction;
  /** Which side loses tokens, where the manifest says so. */
  readonly truncation?: 'longest_first' | 'only_second' | undefined;
  /** Objective it was trained with, where the manifest says so. */
  readonly objective: string | undefined;
  /** `fp32`, `fp16`, `int8`: the ONNX file that is served. */
  readonly variant: string;
  readonly provider: Provider;
  /** sha256 of the served ONNX file. */
  readonly sha256: string;
}

/** Holds a version in memory until released; in-flight work finishes on the version it started on. */
export interface Lease {
  readonly version: ServedVersion;
  release(): void;
}

export type VersionState = 'available' | 'loading' | 'ready' | 'draining' | 'refused' | 'unloaded';

export interface VersionStatus {
  readonly name: string;
  readonly version: string;
  readonly state: VersionState;
  /** Why it was refused, or what it waits for. */
  readonly reason?: string;
  readonly labels: readonly string[];
  readonly variant?: string;
  readonly provider?: Provider;
  readonly maxLength?: number;
  readonly objective?: string;
  readonly bytes?: number;
  readonly lastUsed?: number;
}

export interface ModelRegistry {
  /**
   * Leases what a request names: `model`, `model@version`, `model:label`; nothing means the default model. A model without an exact
   * version resolves to its label `stable`, else its highest version that is not refused. Loads it if it is not in memory.
   * @throws WinnowError `unknown_model`, `unknown_version`, `model_refused`, `model_not_ready`.
   */
  acquire(reference?: string): Promise<Lease>;
  list(): readonly VersionStatus[];
  /** Loads (or reloads from disk) a model's current version, or the one named. */
  load(name: string, version?: string): Promise<readonly VersionStatus[]>;
  /** Drains and unloads every version of a model, or the one named. */
  unload(name: string, version?: string): Promise<void>;
  setLabel(name: string, label: string, version: string): Promise<void>;
  readonly defaultModel: string | undefined;
  close(): Promise<void>;
}

/** What admission needs of a tokenizer: the port `PairTokenizer` of tokenization seen structurally. */
export interface SelfTestTokenizer {
  readonly padId: number;
  encode(
    query: string,
    passages: readonly string[],
    options: {
      readonly maxLength: number;
      readonly maxQueryTokens: number;
      readonly truncation: 'longest_first' | 'only_second';
      readonly side: 'left' | 'right';
      readonly longPassages: 'truncate';
      readonly windowOverlap: number;
    },
  ): Promise<{ readonly rows: readonly InferenceRow[] }>;
  close(): Promise<void>;
}

/** Opens the tokenizer of a version's folder; admission closes it again. */
export interface Tokenizers {
  for(folder: string): Promise<SelfTestTokenizer>;
}

export type UnloadCause = 'replaced' | 'request' | 'memory' | 'removed';

/** Told of everything worth a log line or a metric; must not throw. */
export interface RegistryObserver {
  onLoaded?(event: { version: ServedVersion; loadMs: number; bytes: number }): void;
  onRefused?(event: { name: string; version: string; code: string; reason: string }): void;
  onUnloaded?(event: { version: ServedVersion; cause: UnloadCause }): void;
  /** A model's requests (or those of one of its labels) go to another version from now on. */
  onRouted?(event: { name: string; label: string | undefined; from: string | undefined; to: string }): void;
  /** The registry folder was read again. */
  onScanned?(event: { models: number; versions: number }): void;
  /** Something in the folder is wrong beside a version: a name, a labels.json, the watcher. */
  onProblem?(event: { where: string; reason: string }): void;
}
