/** Files with the weights of a whole checkpoint; the first that exists, whole or in shards, is read. */
export const WHOLE_WEIGHTS = ['model.safetensors', 'pytorch_model.bin'] as const;

/** Returns the name of the file that lists the shards, where weights are not in one file. */
export const shardIndex = (whole: string): string => `${whole}.index.json`;

/** The files that hold weights, or name the files that do. */
export const WEIGHT_FILES: readonly string[] = WHOLE_WEIGHTS.flatMap((whole) => [whole, shardIndex(whole)]);
