import { z } from 'zod';

/* How a version turns its scores into probabilities, in place of its activation. `winnow calibrate` writes it. */

const rises = (values: readonly number[]): boolean => values.every((x, i) => i === 0 || x > values[i - 1]!);
const probability = z.number().gt(0).lt(1);
const whole = z.int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits');

/** A rising map from logits to probabilities. */
const mapSchema = z.discriminatedUnion('method', [
  /** 1 / (1 + exp(−(slope · score + intercept))). */
  z.strictObject({ method: z.literal('platt'), slope: z.number().gt(0), intercept: z.number() }),
  /** Straight lines between points; beyond them the log-odds rise by 1 for each 1 of the score. */
  z
    .strictObject({
      method: z.literal('isotonic'),
      scores: z.array(z.number()).min(1).max(65_536).refine(rises, 'expected rising numbers'),
      probabilities: z.array(probability).min(1).max(65_536).refine(rises, 'expected rising numbers'),
    })
    .refine(({ scores, probabilities }) => scores.length === probabilities.length, {
      path: ['probabilities'],
      error: 'expected one for each score',
    }),
]);

export type ScoreMap = z.infer<typeof mapSchema>;

/** A measure of the probabilities of pairs whose lists the map was not fitted on, before and after the calibration. */
const change = z.strictObject({ before: z.number().min(0), after: z.number().min(0) });

export const calibrationSchema = z.strictObject({
  /** sha256 of the ONNX file whose scores it maps. */
  sha256,
  map: mapSchema,
  /** What it was fitted on. */
  lists: whole,
  pairs: whole,
  relevant: whole,
  data: z.array(z.strictObject({ file: z.string().min(1).max(1000), sha256 })).max(1000),
  logLoss: change,
  calibrationError: change,
});

export type CalibrationFacts = z.infer<typeof calibrationSchema>;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const logOdds = (p: number): number => Math.log(p / (1 - p));

/** Returns the place of the last number that is at most `x`; −1 where all are above. */
function lastAtMost(values: readonly number[], x: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function between({ scores, probabilities }: Extract<ScoreMap, { method: 'isotonic' }>, score: number): number {
  const last = scores.length - 1;
  const at = lastAtMost(scores, score);
  // The bounds keep the last bit of the logarithm from making a step down.
  if (at < 0) return Math.min(probabilities[0]!, sigmoid(logOdds(probabilities[0]!) + (score - scores[0]!)));
  if (at === last)
    return Math.max(probabilities[last]!, sigmoid(logOdds(probabilities[last]!) + (score - scores[last]!)));
  const [low, high] = [probabilities[at]!, probabilities[at + 1]!];
  const part = (score - scores[at]!) / (scores[at + 1]! - scores[at]!);
  return Math.min(high, low + part * (high - low));
}

/** Returns the probability that a map gives a logit, in double precision. It never falls where the logit rises. */
export const probabilityOf = (map: ScoreMap, score: number): number =>
  map.method === 'platt' ? sigmoid(map.slope * score + map.intercept) : between(map, score);
