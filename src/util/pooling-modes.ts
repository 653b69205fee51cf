/** How the states of tokens become one vector: the modes of sentence-transformers' Pooling. */
export const POOLING_MODES = ['cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken'] as const;
export type PoolingMode = (typeof POOLING_MODES)[number];

/** How a bi-encoder without modules makes its vectors. */
export interface VectorForm {
  /** Undefined where the graph gives vectors. */
  readonly pooling: PoolingMode | undefined;
  /** Whether vectors get length 1, so that their product is a cosine. */
  readonly normalize: boolean;
}
