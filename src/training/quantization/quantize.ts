import { setImmediate } from 'node:timers/promises';
import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { downstream } from '../../onnx/order.ts';
import { prepare } from '../../onnx/prepare.ts';
import { PROBE_LENGTH, probeShapes } from '../../onnx/probe.ts';
import { foldConstants } from '../../onnx/rewrites/fold.ts';
import { halveModel } from '../../onnx/rewrites/fp16.ts';
import { quantizeModel } from '../../onnx/rewrites/int8.ts';
import { findLinears } from '../../onnx/rewrites/linears.ts';
import { narrowModel } from '../../onnx/rewrites/narrow.ts';
import type { ModelRow } from '../measure/side-rows.ts';
import { calibrate, inputsOf } from './calibration.ts';
import { chooseGroup, type GroupChoice } from './group-search.ts';
import { compareScores, DEFAULT_BOUNDS, type Parity, type ParityBounds, refusal } from './parity.ts';
import { type Reader, readerOf } from './reader.ts';
import { refineInt8 } from './refine.ts';
import { chooseKept, measureSensitivity, type Sensitivities } from './sensitivity.ts';

export interface QuantizeOptions {
  readonly padId: number;
  /** How rows are read; as pairs, or texts of a bi-encoder, if absent. */
  readonly reader?: Reader;
  /** Rows for calibration; none of them should be in `check`. */
  readonly calibration: readonly ModelRow[];
  /** Rows that the result is compared on. */
  readonly check: readonly ModelRow[];
  /** Groups whose outputs have a larger relative error than this stay in float32. */
  readonly keepAbove?: number;
  /** Allowed standard deviation of the change of scores, as a share of the scores' own; 0 keeps as many layers as `keepShare` allows. */
  readonly noise?: number;
  /** Share of the layers' work that may stay in float32 for that; by default none, or a fifth where the result would exceed `bounds`. */
  readonly keepShare?: number;
  /** Largest change of scores by 8-bit attention scores of one layer, as a share of the scores' own deviation; all are 8-bit without it. */
  readonly attentionNoise?: number;
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
const SAMPLE = 256;
/** Above this, a layer's noise would hide small differences between passages. */
const KEEP_ABOVE = 0.2;
/** Passages of a list differ by some hundredths of the scores' standard deviation. */
const NOISE = 0.05;
/** Shares of the work that stay in float32, in the order tried. A layer in float32 takes 3.7 times as long as in int8. */
const SHARES = [0, 0.2] as const;
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

/**
 * Returns the values that depend on a sum over the positions of a row. The sum's last bit depends on the length of the batch, and an integer
 * after it could change with it. Values that only one position is chosen for have no such sum: in int8 they are the same in every batch, in
 * float32 they are not, since the engine adds the products of a single row in another order.
 */
async function afterPooling(model: Model): Promise<ReadonlySet<string>> {
  const shapes = await probeShapes(model);
  const poolings = model.graph.nodes.filter(({ op, inputs, outputs }) => {
    const [from, to] = [shapes.get(inputs[0] ?? '')?.dims, shapes.get(outputs[0]!)?.dims];
    const isStates = from?.length === 3 && from[1] === PROBE_LENGTH;
    if (op === 'CumSum') return isStates;
    return op.startsWith('Reduce') && isStates && !(to?.length === 3 && to[1] === PROBE_LENGTH);
  });
  return downstream(
    model.graph,
    poolings.flatMap((n) => n.outputs),
  );
}

/** Brings the model to canonical form, without the positions that scores do not depend on. */
const canonical = async (source: Model, output: string | undefined): Promise<Model> =>
  narrowModel((await prepare(source, { ...(output !== undefined && { output }) })).model);

/**
 * Quantizes a cross-encoder or a bi-encoder to int8: static calibrated scales with channel smoothing (so that scores do not depend on co-batched rows), α and
 * range per group by the error of its outputs, bias correction, int8 word embeddings, attention scores from 8-bit queries and keys. Layers
 * after a pooling by sums stay in float32, as do those with the largest error and, where the result would be refused, those that change
 * the scores most for their work.
 * @param source float32 model; `output` is the name of its scores, [rows, 1], or of its vectors, [rows, width];
 * without it all outputs stay, as in the graphs of an interaction model.
 * @throws WinnowError `model_refused` where the result exceeds the bounds.
 */
export async function quantize(
  source: Model,
  output: string | undefined,
  options: QuantizeOptions,
): Promise<Quantized> {
  const model = await canonical(source, output);
  const groups = findLinears(model.graph);
  const { calibration, padId, reader, seed = 1, attentionNoise, onProgress } = options;
  const seen = await calibrate(model, inputsOf(groups), calibration, {
    padId,
    reader,
    seed,
    sampleSize: SAMPLE,
    onBatch: (done, total) => onProgress?.('calibrate', done, total),
  });
  const choices: GroupChoice[] = [];
  for (const group of groups) {
    choices.push(chooseGroup(group, seen.get(group.input)!));
    onProgress?.('choose', choices.length, groups.length);
    // Groups of large models take seconds, in which signals would wait.
    await setImmediate();
  }
  const pooled = await afterPooling(model);
  const staysFloat = ({ error, quantization }: GroupChoice) =>
    error > (options.keepAbove ?? KEEP_ABOVE) || pooled.has(quantization.group.input);
  const usable = choices.filter((c) => !staysFloat(c));
  const rows = calibration.slice(0, TRIED);
  const onGroup = (done: number) => onProgress?.('try', done, usable.length);
  // Each group alone takes long, in a model of gigabytes hours: only where the result depends on it.
  let tried: Sensitivities | undefined;
  const keptWithin = async (share: number): Promise<ReadonlySet<number>> => {
    if (share === 0) return new Set();
    tried ??= await measureSensitivity(model, usable, rows, { reader: readerOf(options), onGroup });
    return chooseKept(tried, { noise: options.noise ?? NOISE, share });
  };
  const make = async (share: number) => {
    const kept = await keptWithin(share);
    const chosen = usable.filter((_, i) => !kept.has(i)).map((c) => c.quantization);
    const refining = { padId, reader, seed, attentionNoise, onProgress };
    const small = await refineInt8(quantizeModel(model, chosen), calibration, refining);
    return { small, kept, parity: await checkParity(model, small, options) };
  };
  const { small, kept, parity } = await firstWithin(
    options.keepShare === undefined ? SHARES : [options.keepShare],
    make,
  );
  const noiseOf = (at: number) => tried && Math.sqrt(tried.groups[at]!.variance / Math.max(tried.variance, 1e-30));
  const layers = choices.map((choice) => {
    const at = usable.indexOf(choice);
    return at < 0 ? reportOf(choice, true) : reportOf(choice, kept.has(at), noiseOf(at));
  });
  return { model: small, parity, layers };
}

/** Returns the first result that is not refused. @throws the refusal of the last share. */
async function firstWithin<T>(shares: readonly number[], make: (share: number) => Promise<T>): Promise<T> {
  const [share, ...others] = shares as readonly [number, ...number[]];
  try {
    return await make(share);
  } catch (error) {
    if (others.length === 0 || !(error instanceof WinnowError) || error.code !== 'model_refused') throw error;
    return firstWithin(others, make);
  }
}

/** Compares the scores of two files of a model. @throws WinnowError `model_refused` where they exceed the bounds. */
export async function checkParity(
  float: Model,
  small: Model,
  options: Pick<QuantizeOptions, 'check' | 'padId' | 'reader' | 'bounds'>,
): Promise<Parity> {
  const reader = readerOf(options);
  const [reference, candidate] = [await reader.open(float, { threads: 1 }), await reader.open(small, { threads: 1 })];
  try {
    const parity = await compareScores(reference, candidate, options.check, reader);
    const reason = refusal(parity, options.bounds ?? DEFAULT_BOUNDS);
    if (reason !== undefined) throw new WinnowError('model_refused', { model: 'int8', version: 'new', reason });
    return parity;
  } finally {
    await reference.close();
    await candidate.close();
  }
}

/**
 * Converts a cross-encoder or a bi-encoder to float16, for GPUs; CPUs convert it back to float32 and are slower.
 * @throws WinnowError `model_refused` where the result exceeds the bounds.
 */
export async function halve(source: Model, output: string, options: QuantizeOptions): Promise<Quantized> {
  // Products of constants, such as those of DeBERTa's distances: the engine has no float16 kernel to fold them with.
  const model = await foldConstants(await canonical(source, output));
  const small = halveModel(model, await probeShapes(model));
  return { model: small, parity: await checkParity(model, small, options), layers: [] };
}
