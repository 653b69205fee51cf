import { decoder } from './decoder.ts';

/** Qwen3 (Yang et al. 2025): heads of queries and keys are normalized, and have a width of their own. */
export const qwen3 = decoder({
  biases: (settings) => {
    const bias = settings.flag('attention_bias', false);
    return { attention: bias, output: bias };
  },
  headNorm: true,
  headSize: 128,
});
