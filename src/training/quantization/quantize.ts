import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { prepare } from '../../onnx/prepare.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import { halveModel } from '../../onnx/rewrites/fp16.ts';
import { quantizeModel } from '../../onnx/rewrites/int8.ts';
import { findLinears } from '../../onnx/rewrites/linears.ts';
import { narrowModel } from '../../onnx/rewrites/narrow.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { openRowScorer, type RowScorer } from '../step/row-scorer.ts';
import { calibrate } from './calibration.ts';
import { chooseGroup, type GroupChoice } from './group-search.ts';
import { compareScores, DEFAULT_BOUNDS, type Parity, type ParityBounds, refusal } from './parity.ts';
import { chooseKept, measureSensitivity } from './sensitivity.ts';

export interface QuantizeOptions {
  readonly padId: number;
  /** Rows for calibration; none of them should be in `check`. */
  readonly calibration: readonly EncodedRow[];
  /** Rows that the result is compared on. */
  readonly check: readonly EncodedRow[];
  /** Groups whose outputs have a larger relative error than this stay in float32. */
  readonly keepAbove?: number;
  /** Allowed standard deviation of the change of scores, as a share of the scores' own; 0 keeps as many layers as `keepShare` allows. */
  readonly noise?: number;
  /** Share of the layers' work that may stay in float32 for that. */
  readonly keepShare?: number;
  readonly bounds?: ParityBounds;
  readonly seed?: number;
  readonly onProgress?: (stage: string, done: number, total: number) => void;
}

/** How a group of layers was quantized. */
export interface LayerReport {
  readonly layers: readonly string[];
  /** Relative error of the outputs on the calibration sample. */
  readonly error: number;
  readonly alpha: number;
  readonly range: number;
  /** Standard deviation of the change of scores by this group alone, as a share of the scores' own; absent where it was not tried. */
  readonly noise?: number;
  /** Whether the group stays in float32. */
  readonly kept: boolean;
}

export interface Quantized {
  readonly model: Model;
  readonly parity: Parity;
  readonly layers: readonly LayerReport[];
}

/** States to sample per group. */
const SAMPLE = 64;
/** Above this, a layer's noise would hide small differences between passages. */
const KEEP_ABOVE = 0.2;
/** Passages of a list differ by some hundredths of the scores' standard deviation. */
const NOISE = 0.05;
const KEEP_SHARE = 0.2;
/** Rows on which each group is tried alone. */
const TRIED = 48;

const reportOf = (choice: GroupChoice, kept: boolean, noise?: number): LayerReport => ({
  ...(noise !== undefined && { noise }),
  layers: choice.quantization.group.layers.map((l) => l.weight),
  error: choice.error,
  alpha: choice.alpha,
  range: choice.range,
  kept,
});

/** Brings the model to canonical form, without the positions that scores do not depend on. */
const canonical = async (source: Model, output: string): Promise<Model> =>
  narrowModel((await prepare(source, { output })).model);

/**
 * Quantizes a cross-encoder to int8: static calibrated scales with channel smoothing (so that scores do not depend on co-batched rows), α and
 * range per group by the error of its outputs, bias correction, int8 word embeddings. Three kinds of layers stay in float32: those with the
 * largest error, those that change the scores most for their work, and those after the pooling.
 * @param source float32 model; `output` is the name of its scores, [rows, 1].
 * @throws WinnowError `model_refused` where the result exceeds the bounds.
 */
export async function quantize(source: Model, output: string, options: QuantizeOptions): Promise<Quantized> {
  const model = await canonical(source, output);
  const groups = findLinears(model.graph);
  const { calibration, padId, seed = 1, onProgress } = options;
  const seen = await calibrate(model, groups, calibration, {
    padId,
    seed,
    sampleSize: SAMPLE,
    onBatch: (done, total) => onProgress?.('calibrate', done, total),
  });
  const choices = groups.map((group, i) => {
    const choice = chooseGroup(group, seen.get(group.input)!);
    onProgress?.('choose', i + 1, groups.length);
    return choice;
  });
  // After the pooling int8 saves nothing, and different rounding of the pooling in longer batches could change an integer.
  const staysFloat = ({ error, quantization }: GroupChoice) =>
    error > (options.keepAbove ?? KEEP_ABOVE) || seen.get(quantization.group.input)!.pooled;
  const usable = choices.filter((c) => !staysFloat(c));
  const rows = calibration.slice(0, TRIED);
  const onGroup = (done: number) => onProgress?.('try', done, usable.length);
  const tried = await measureSensitivity(model, usable, rows, { padId, onGroup });
  const { noise = NOISE, keepShare = KEEP_SHARE } = options;
  const kept = chooseKept(tried, { noise, share: keepShare });
  const small = quantizeModel(
    model,
    usable.filter((_, i) => !kept.has(i)).map((c) => c.quantization),
  );
  const parity = await checkParity(model, small, options);
  const layers = choices.map((choice) => {
    const at = usable.indexOf(choice);
    if (at < 0) return reportOf(choice, true);
    return reportOf(choice, kept.has(at), Math.sqrt(tried.groups[at]!.variance / Math.max(tried.variance, 1e-30)));
  });
  return { model: small, parity, layers };
}

async function checkParity(
  float: Model,
  small: Model,
  { check, padId, bounds = DEFAULT_BOUNDS }: QuantizeOptions,
): Promise<Parity> {
  const open = (model: Model): Promise<RowScorer> => openRowScorer(encodeModel(model), { padId }, { threads: 1 });
  const [reference, candidate] = [await open(float), await open(small)];
  try {
    const parity = await compareScores(reference, candidate, check);
    const reason = refusal(parity, bounds);
    if (reason !== undefined) throw new WinnowError('model_refused', { model: 'int8', version: 'new', reason });
    return parity;
  } finally {
    await reference.close();
    await candidate.close();
  }
}

/**
 * Converts a cross-encoder to float16, for GPUs; CPUs convert it back to float32 and are slower.
 * @throws WinnowError `model_refused` where the result exceeds the bounds.
 */
export async function halve(source: Model, output: string, options: QuantizeOptions): Promise<Quantized> {
  const model = await canonical(source, output);
  const small = halveModel(model);
  return { model: small, parity: await checkParity(model, small, options), layers: [] };
}
