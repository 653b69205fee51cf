/**
 * How an objective reads labels: as targets of single passages, from 0 to 1, or as relevant and not relevant. Others read grades, or none.
 */
export type LabelNeed = 'target' | 'binary';

/**
 * What has a weight in the loss: each passage by itself, or a list as a whole, whose passages then have one weight.
 */
type WeightNeed = 'passages' | 'lists';

/** What a list must hold for the objective to use it. */
export interface Needs {
  readonly relevance: boolean;
  readonly teacher: boolean;
  readonly labels?: LabelNeed;
  /** Whether single passages with a teacher score are enough, without a relevant passage or another one beside them. */
  readonly pointwise?: true;
  /** What the weights of rows weigh; absent for callers that only read the data. */
  readonly weights?: WeightNeed;
}
