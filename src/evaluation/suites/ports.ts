/** What a suite has to know of a model, besides its scores. */
export interface SuiteModel {
  /** `name@version`. */
  readonly key: string;
  /** sha256 of the ONNX file that scores. */
  readonly sha256: string;
  readonly variant: string;
  readonly provider: string;
  /** `training` of the manifest, as it stands there. */
  readonly training: Readonly<Record<string, unknown>> | undefined;
}

/** One query with the texts of its candidates. */
export interface ScoreRequest {
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly string[];
}

export interface ScoreResult {
  readonly qid: string;
  /** One score a passage, in the order of the request. */
  readonly scores: ArrayLike<number>;
  readonly tokens: number;
  /** Passages of which text was cut off. */
  readonly truncated: number;
}

/** Models by reference. The suite knows nothing of how they run. */
export interface ModelGate {
  /** Loads a model and tells what it is. @throws WinnowError where there is none or it is refused. */
  open(reference: string, variant: string): Promise<SuiteModel>;
  /** Scores requests and yields results in their order. */
  score(reference: string, variant: string, requests: AsyncIterable<ScoreRequest>): AsyncIterable<ScoreResult>;
}
