import type { InferenceRow, Provider, Reduction } from '../inference/inference-types.ts';
import type { TextTemplate } from '../util/text-template.ts';
import type { CalibrationFacts } from './calibration.ts';
import type { Pruning } from './pruning.ts';

/** How a score (fp32 logit) becomes a relevance score; `none` keeps the logit. */
export type Activation = 'sigmoid' | 'none';

/**
 * Whether a model reads query and passage together, as a pair, or apart, as two vectors; or apart in its lower layers, so that a few upper layers of
 * the query look at finished states of the passage.
 */
export type ModelKind = 'cross-encoder' | 'bi-encoder' | 'interaction';

/** What a model that reads texts apart puts before them, and how a bi-encoder compares their vectors. */
export interface SideEncoder {
  readonly queryPrefix: string;
  readonly passagePrefix: string;
  /** A score is the dot product of the vectors times this. The graph makes their length 1 where it is a cosine. 1 for interaction models. */
  readonly scale: number;
}

/** The graph of an interaction model that reads passages. What it gives is kept; the version's own graph scores by it. */
export interface PassageGraph {
  /** Its key in inference hosts. */
  readonly key: string;
}

/** A version that passed admission and is loaded on every host. */
export interface ServedVersion {
  readonly name: string;
  readonly version: string;
  /** `name@version`, the key in inference hosts and caches. */
  readonly key: string;
  readonly folder: string;
  readonly maxLength: number;
  readonly activation: Activation;
  readonly reduction: Reduction;
  /** The most tokens of a query, if the manifest says so. */
  readonly maxQueryTokens?: number | undefined;
  /** Which side is cut, if the manifest says so. */
  readonly truncation?: 'longest_first' | 'only_second' | undefined;
  /** How query and passage become one text; undefined where they are a pair. */
  readonly template?: TextTemplate | undefined;
  /** Of a model that reads query and passage apart; undefined for models that read pairs. */
  readonly encoder?: SideEncoder | undefined;
  /** Of an interaction model. */
  readonly passages?: PassageGraph | undefined;
  /** The training objective, if the manifest says so. */
  readonly objective: string | undefined;
  /** `fp32`, `fp16`, `int8`: the ONNX file that is served. */
  readonly variant: string;
  readonly provider: Provider;
  /** sha256 of the served ONNX file; of an interaction model that of the hashes of all its ONNX files and their data. */
  readonly sha256: string;
  /**
   * Hash of all that the values of its graph depend on: `sha256`, the external data, and whether it was rewritten for this machine. Default:
   * `sha256`.
   */
  readonly graphId?: string;
  /** How it prunes candidate lists; undefined where it was not calibrated for the served file. */
  readonly pruning?: Pruning | undefined;
  /** How scores become probabilities, in place of the activation; undefined where it was not calibrated with the served file. */
  readonly calibration?: CalibrationFacts | undefined;
  /** Warnings of admission: files that are not applied, scores that depend on the batch. One sentence each. */
  readonly warnings: readonly string[];
  /** How the graph of another tool was rewritten for this machine, or why not; undefined where nothing is to rewrite. */
  readonly rewrite?: string | undefined;
}

/** Keeps a version in memory until it is released, so that a request finishes on the version it started on. */
export interface Lease {
  readonly version: ServedVersion;
  release(): void;
}

export type VersionState = 'available' | 'loading' | 'ready' | 'draining' | 'refused' | 'unloaded';

export interface VersionStatus {
  readonly name: string;
  readonly version: string;
  readonly state: VersionState;
  /** Why it has this state. */
  readonly reason?: string;
  readonly labels: readonly string[];
  readonly variant?: string;
  readonly provider?: Provider;
  readonly maxLength?: number;
  readonly maxQueryTokens?: number;
  readonly activation?: Activation;
  /** How it reads query and passage. */
  readonly kind?: ModelKind;
  readonly objective?: string;
  /** That of `ServedVersion`. */
  readonly calibration?: CalibrationFacts;
  /** Those of `ServedVersion`; absent without any. */
  readonly warnings?: readonly string[];
  /** That of `ServedVersion`. */
  readonly rewrite?: string;
  readonly bytes?: number;
  readonly lastUsed?: number;
}

export interface ModelRegistry {
  /**
   * Leases the version of a reference: `model`, `model@version` or `model:label`; the default model without one. A model without a version
   * resolves to its label `stable`, else to its highest version that is not refused. Loads the version if it is not in memory.
   * @throws WinnowError `unknown_model`, `unknown_version`, `model_refused`, `model_not_ready`.
   */
  acquire(reference?: string): Promise<Lease>;
  list(): readonly VersionStatus[];
  /** Returns the reference that a client's name means: an alias's target; the name itself where it is none. */
  canonical(reference: string): string;
  /** Returns the aliases that have a name of their own, and what each means. */
  aliases(): readonly (readonly [alias: string, reference: string])[];
  /** Loads a model's current version, or the named one; reloads it if its files have changed. */
  load(name: string, version?: string): Promise<readonly VersionStatus[]>;
  /** Unloads every version of a model, or the named one, when its requests are finished. */
  unload(name: string, version?: string): Promise<void>;
  /** Loads a version and sets a label to it. */
  setLabel(name: string, label: string, version: string): Promise<void>;
  readonly defaultModel: string | undefined;
  close(): Promise<void>;
}

/** How admission cuts texts. */
interface SelfTestOptions {
  readonly maxLength: number;
  readonly maxQueryTokens: number | undefined;
  readonly truncation: 'longest_first' | 'only_second';
  readonly side: 'left' | 'right';
  readonly longPassages: 'truncate';
  readonly windowOverlap: number;
  /** Of texts that are read by themselves. */
  readonly prefix?: string;
  readonly maxPassageTokens?: number | undefined;
}

interface SelfTestRows {
  readonly rows: readonly InferenceRow[];
}

/** What admission uses of a tokenizer. `PairTokenizer` of tokenization fits by structure. */
export interface SelfTestTokenizer {
  readonly padId: number;
  encode(query: string, passages: readonly string[], options: SelfTestOptions): Promise<SelfTestRows>;
  encodeTexts(texts: readonly string[], options: SelfTestOptions): Promise<SelfTestRows>;
  close(): Promise<void>;
}

/** Opens the tokenizer of a version's folder; admission closes it again. */
export interface Tokenizers {
  for(folder: string): Promise<SelfTestTokenizer>;
}

export type UnloadCause = 'replaced' | 'request' | 'memory' | 'removed';

/** Receives events for log and metrics. Must not throw. */
export interface RegistryObserver {
  onLoaded?(event: { version: ServedVersion; loadMs: number; bytes: number }): void;
  /** A loaded version takes more memory now: its early score was loaded. */
  onGrown?(event: { version: ServedVersion; bytes: number }): void;
  onRefused?(event: { name: string; version: string; code: string; reason: string }): void;
  onUnloaded?(event: { version: ServedVersion; cause: UnloadCause }): void;
  /** Another version now serves requests of a model, or of one of its labels. */
  onRouted?(event: { name: string; label: string | undefined; from: string | undefined; to: string }): void;
  /** The registry folder was read. */
  onScanned?(event: { models: number; versions: number }): void;
  /** A fault that is not one of a version: a name, a labels.json, the watcher. */
  onProblem?(event: { where: string; reason: string }): void;
}
