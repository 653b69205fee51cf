/** What a suite knows of a model, apart from its scores. */
export interface SuiteModel {
  /** `name@version`. */
  readonly key: string;
  /** sha256 of the ONNX file that scores. */
  readonly sha256: string;
  readonly variant: string;
  readonly provider: string;
  /** How its pairs are cut, as JSON: lengths and rules of the model and of the settings. */
  readonly pairs?: object;
  /** `training` of the manifest, as it stands there. */
  readonly training: Readonly<Record<string, unknown>> | undefined;
  /** Its calibration for early pruning: recalls, and the part of the model that an early score costs. Absent without one for the served file. */
  readonly pruning?: { readonly recalls: readonly number[]; readonly share: number };
}

/** How the lists of a system are pruned: so much of their first `topN` has to stay. */
export interface PruneSpec {
  readonly recall: number;
  readonly topN: number;
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
  /** Tokens of the passages that the whole model scored. */
  readonly tokens: number;
  /** Passages that were pruned, by place in the request, and their tokens. Their scores have no meaning. */
  readonly pruned?: { readonly places: readonly number[]; readonly tokens: number } | undefined;
  /** Number of passages whose text was truncated. */
  readonly truncated: number;
  /** Tokens of the query that were truncated in some pair. */
  readonly queryCut?: number;
}

/** Models by reference. How they run is the caller's choice: `src/main/suite-models.ts` opens them as the server does. */
export interface SuiteModels {
  /** Loads a model and describes it. @throws WinnowError where there is none or it is refused. */
  open(reference: string, variant: string): Promise<SuiteModel>;
  /** Scores requests and yields results in their order. */
  score(
    reference: string,
    variant: string,
    requests: AsyncIterable<ScoreRequest>,
    prune?: PruneSpec,
  ): AsyncIterable<ScoreResult>;
}
