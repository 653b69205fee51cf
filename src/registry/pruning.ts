import { z } from 'zod';
import type { LoadSpec } from '../inference/inference-types.ts';
import { once } from '../util/once.ts';

/* How a version prunes candidate lists: an early score of each pair, and how far it may lie from the score. `winnow prune` writes it. */

const FLOAT_BYTES = 4;

const ascending = (values: readonly number[]): boolean => values.every((x, i) => i === 0 || x > values[i - 1]!);

export const pruningSchema = z
  .strictObject({
    /** sha256 of the ONNX file whose states the early score reads and whose scores it estimates. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits'),
    /** Value of the graph whose states the early score reads. */
    value: z.string().min(1).max(1000),
    /** Weights of the features as float32, little endian, in base64. */
    weights: z
      .base64()
      .max(1 << 20)
      .refine((text) => Buffer.from(text, 'base64').length % FLOAT_BYTES === 0, 'expected whole float32 numbers'),
    /** Values of `top_n` that the margins hold for. */
    counts: z.array(z.int().min(1)).min(1).max(64).refine(ascending, 'expected rising numbers'),
    /** Parts of the first `top_n` by score that stay. */
    recalls: z.array(z.number().gt(0).lt(1)).min(1).max(64).refine(ascending, 'expected rising numbers'),
    /** For each count and recall: how far below the early score of place `top_n` a passage may be and stay. */
    margins: z.array(z.array(z.number().min(0).max(1e9))),
    /** Part of the model's work that the early score costs. */
    share: z.number().min(0).max(1),
    /** Candidate lists of the calibration. */
    lists: z.int().min(1),
  })
  .refine(
    ({ counts, recalls, margins }) =>
      margins.length === counts.length && margins.every((row) => row.length === recalls.length),
    { path: ['margins'], error: 'a row for each count, with a number for each recall' },
  );

export type PruningFacts = z.infer<typeof pruningSchema>;

/** How a served version prunes. */
export interface Pruning extends Pick<PruningFacts, 'counts' | 'recalls' | 'margins' | 'share'> {
  /** Memory of the early score over all hosts, in bytes; 0 before it is loaded. */
  readonly bytes: number;
  /** Loads the early score on all hosts, the first time that it is called, and returns its key there. */
  load(): Promise<string>;
  /** Calls back when the early score has been loaded. */
  whenLoaded(call: () => void): void;
}

/** Returns the weights of an early score. */
function earlyWeights({ weights }: Pick<PruningFacts, 'weights'>): Float32Array {
  const bytes = Buffer.from(weights, 'base64');
  return Float32Array.from({ length: bytes.length / FLOAT_BYTES }, (_, i) => bytes.readFloatLE(i * FLOAT_BYTES));
}

/** Returns weights as a manifest has them. */
export function encodeWeights(weights: Float32Array): string {
  const bytes = Buffer.alloc(weights.length * FLOAT_BYTES);
  weights.forEach((weight, i) => {
    bytes.writeFloatLE(weight, i * FLOAT_BYTES);
  });
  return bytes.toString('base64');
}

/** Returns the key of a version's early score in the hosts and in metrics. */
export const earlyKey = (key: string): string => `${key}~early`;

/**
 * Returns how a version prunes; its early score is loaded when it is first used, so that a version that never prunes costs nothing.
 * @param load loads a graph on all hosts.
 */
export function pruningOf(
  facts: PruningFacts,
  spec: LoadSpec,
  load: (spec: LoadSpec) => Promise<{ readonly bytes: number }>,
): Pruning {
  const { counts, recalls, margins, share, value } = facts;
  const key = earlyKey(spec.key);
  let loading: (() => Promise<string>) | undefined;
  let bytes = 0;
  const listeners: (() => void)[] = [];
  const start = () =>
    once(async () => {
      const early = { value, weights: [...earlyWeights(facts)] };
      bytes = (await load({ ...spec, key, reduction: { kind: 'single' }, early })).bytes;
      for (const call of listeners) call();
      return key;
    });
  return {
    counts,
    recalls,
    margins,
    share,
    get bytes() {
      return bytes;
    },
    whenLoaded: (call) => void listeners.push(call),
    async load() {
      loading ??= start();
      try {
        return await loading();
      } catch (error) {
        // Hosts may come back: the next request tries again.
        loading = undefined;
        throw error;
      }
    },
  };
}
