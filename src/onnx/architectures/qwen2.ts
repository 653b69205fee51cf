import { decoder } from './decoder.ts';

/** Qwen2 and Qwen2.5 (Yang et al. 2024): queries, keys and values have a bias. */
export const qwen2 = decoder({
  biases: () => ({ attention: true, output: false }),
  headNorm: false,
  headSize: undefined,
});
