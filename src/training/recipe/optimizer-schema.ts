import { z } from 'zod';
import { SCHEDULES } from '../optimizers/schedules.ts';

const rate = z.number().min(0).max(1);

/** A recipe's `optimizer`. */
export const optimizerSchema = z.strictObject({
  learningRate: z.number().positive().default(2e-5).describe('Peak of the learning rate.'),
  headLearningRate: z.number().positive().optional().describe('Peak for the weights of the head; the same by default.'),
  rates: z
    .array(
      z.strictObject({
        match: z.string().min(1).describe('Part of the names of weights; `*` stands for any text.'),
        factor: z.number().positive().describe('Factor on the learning rate of these weights.'),
      }),
    )
    .default([])
    .describe('Learning rates by layer: factors on the peak for weights by name; the first entry that matches counts.'),
  beta1: rate.default(0.9),
  beta2: rate.default(0.999),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.01).describe('Weight decay of matrices and tables.'),
  clipNorm: z.number().positive().default(1).describe('Largest global L2 norm of the gradients.'),
  place: z
    .enum(['auto', 'graph', 'host'])
    .default('auto')
    .describe(
      'Where the update runs: in the engine’s graph, or on the host, which is faster on a CPU. auto: host with provider cpu.',
    ),
});

/** A recipe's `schedule`. */
export const scheduleSchema = z.strictObject({
  name: z.enum(SCHEDULES).default('linear').describe('Decay of the learning rate after the warm-up.'),
  warmup: z.number().min(0).default(0.1).describe('Steps of linear rise to the peak; below 1, a share of all steps.'),
  floor: rate
    .default(0)
    .describe('Share of the peak that linear and cosine end at, such as 0.1; 0: the last step moves nothing.'),
});

/** A recipe's `lora`. */
export const loraSchema = z
  .strictObject({
    rank: z.number().int().min(1).default(16).describe('Rank of the adapters.'),
    alpha: z
      .number()
      .positive()
      .default(32)
      .describe('Scale of the adapters: their output is multiplied by alpha / rank.'),
    targets: z
      .array(z.string().min(1))
      .min(1)
      .default(['*'])
      .describe(
        'Parts of names of matrices that get an adapter; `*` stands for any text. By default all of the encoder.',
      ),
    dropout: rate.default(0).describe('Dropout rate of the adapters’ inputs.'),
  })
  .describe(
    'Train low-rank adapters and the head instead of the encoder’s weights; they are added to the weights at publishing.',
  );
