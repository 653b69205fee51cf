/** Settings that replace the defaults of a recipe; the recipe's own settings win. */
interface Preset {
  readonly summary: string;
  readonly settings: Record<string, unknown>;
}

export const PRESETS: Readonly<Record<string, Preset>> = {
  'paper-2603.03010': {
    summary:
      'Hyper-parameters of arXiv 2603.03010 for small backbones, 64 passages a step (base ones: learningRate 1e-5, batch.queries 4)',
    settings: {
      steps: 200_000,
      maxLength: 512,
      maxQueryTokens: 256,
      batch: { queries: 8 },
      data: { sampler: { positives: 1, negatives: 7 } },
      optimizer: { learningRate: 7e-6, weightDecay: 0, epsilon: 1e-8, clipNorm: 1 },
      schedule: { name: 'linear', warmup: 5000 },
      seed: 12,
      checkpoint: { every: 10_000 },
    },
  },
  'rank-distillm': {
    summary: 'Second stage of Rank-DistiLLM: lists of 100 from an LLM’s ranking, one list a micro-step, 32 accumulated',
    settings: {
      steps: 940,
      maxLength: 291,
      maxQueryTokens: 32,
      batch: { queries: 1, accumulate: 32 },
      data: { sampler: { mode: 'window', depth: 100 } },
      optimizer: { learningRate: 1e-5, weightDecay: 0.01 },
      schedule: { name: 'constant', warmup: 0 },
      seed: 42,
    },
  },
};
