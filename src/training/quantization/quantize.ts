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
import { compareScores, DEFAULT_BOUNDS, type Parity, type ParityBounds, refusal } from './parity.ts';
import { chooseGroup, type GroupChoice } from './search.ts';
import { chooseKept, measureSensitivity } from './sensitivity.ts';

export interface QuantizeOptions {
  readonly padId: number;
  /** Rows the ranges are taken from; none of them should be among `check`. */
  readonly calibration: readonly EncodedRow[];
  /** Rows the result is judged on. */
  readonly check: readonly EncodedRow[];
  /** Groups whose outputs would be off by more than this share of their size stay in float32. */
  readonly keepAbove?: number;
  /** Standard deviation of what the integers do to scores that is put up with, as a share of the scores' own; 0 keeps all that `keepShare` allows. */
  readonly noise?: number;
  /** Share of the layers' work that may stay in float32 to get there. */
  readonly keepShare?: number;
  readonly bounds?: ParityBounds;
  readonly seed?: number;
  readonly onProgress?: (stage: string, done: number, total: number) => void;
}

export interface LayerReport {
  readonly layers: readonly string[];
  /** Share of the outputs' size that quantization changes on the calibration sample. */
  readonly error: number;
  readonly alpha: number;
  readonly range: number;
  /** Standard deviation of what this group alone does to scores, as a share of the scores' own; absent where it was not tried. */
  readonly noise?: number;
  readonly kept: boolean;
}

export interface Quantized {
  readonly model: Model;
  readonly parity: Parity;
  readonly layers: readonly LayerReport[];
}

const SAMPLE = 64;
/** Above this a layer's noise would drown small differences between passages. */
const KEEP_ABOVE = 0.2;
/** Of scores; passages of a list differ by some hundredths of them. */
const NOISE = 0.05;
const KEEP_SHARE = 0.2;
/** Pairs that show what a group does to the scores. */
const TRIED = 48;

const reportOf = (choice: GroupChoice, kept: boolean, noise?: number): LayerReport => ({
  ...(noise !== undefined && { noise }),
  layers: choice.quantization.group.layers.map((l) => l.weight),
  error: choice.error,
  alpha: choice.alpha,
  range: choice.range,
  kept,
});

/** The form that is made smaller: canonical, without what the scores do not need. */
const canonical = async (source: Model, output: string): Promise<Model> =>
  narrowModel((await prepare(source, { output })).model);

/**
 * Makes the int8 form of a cross-encoder: static calibrated scales with channel smoothing (scores do not depend on batch mates), α and range
 * chosen a layer by its output's error, bias correction, int8 word embeddings. In float32 stay layers that suffer most, those that move the
 * scores most for their work, and the few behind the pooling.
 * @param source float32 model whose only wanted output is `output`, [rows, 1].
 * @throws WinnowError `model_refused` where the result is past the bounds.
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
  // Behind the pooling integers save nothing, and what pooling rounds differently in longer batches would be rounded to another integer.
  const bad = ({ error, quantization }: GroupChoice) =>
    error > (options.keepAbove ?? KEEP_ABOVE) || seen.get(quantization.group.input)!.pooled;
  const usable = choices.filter((c) => !bad(c));
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

/** The float16 form, judged like the int8 one. It is slower on CPUs, which widen it again; it is meant for GPUs. */
export async function halve(source: Model, output: string, options: QuantizeOptions): Promise<Quantized> {
  const model = await canonical(source, output);
  const small = halveModel(model);
  return { model: small, parity: await checkParity(model, small, options), layers: [] };
}
