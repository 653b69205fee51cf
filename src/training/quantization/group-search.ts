import { type GroupQuantization, quantizeMatrix } from '../../onnx/rewrites/int8.ts';
import type { LinearGroup, LinearLayer } from '../../onnx/rewrites/linears.ts';
import { largest, rowMaxima } from '../../onnx/rewrites/linears.ts';
import { float32View } from '../../onnx/tensor.ts';
import type { InputStatistics } from './calibration.ts';

/*
 * Chooses for each group of layers how much of the range of activations is moved to the weights (α), which integer stands for zero, and how
 * far the range is clipped, by the error of the layers' outputs on the calibration sample.
 */

const ALPHAS = [0.5, 0.65, 0.8, 0.9] as const;
const RANGES = [1, 0.9, 0.75] as const;
/** Largest integer of 8 bits. */
const TOP = 255;
const MIDDLE = 128;
/** Integers that may stand for zero where states are hardly ever negative, as after GELU: more steps are left for the positive ones. */
const LOW_ZEROS = [16, 24, 32, 48, 64] as const;
/** Largest share that the negative range may have of the positive one for these. */
const ONE_SIDED = 0.5;
/** Steps on one side of the middle; magnitudes are scaled to it for every zero point. */
const LEVELS = 127;
/** Smallest divisor; smaller ones would amplify rounding. */
const SMALLEST = 1e-5;

/** The best quantization found for a group. */
export interface GroupChoice {
  readonly quantization: GroupQuantization;
  /** Root mean square of the outputs' error over that of the outputs, over all layers of the group. */
  readonly error: number;
  readonly alpha: number;
  readonly range: number;
}

interface Setting {
  readonly alpha: number;
  readonly range: number;
  readonly zeroPoint: number;
}

/** Returns the range that each channel needs, in magnitudes around the middle, where `zeroPoint` stands for zero. */
function rangesOf({ channelMaxima, channelMinima, channelPeaks }: InputStatistics, zeroPoint: number): Float32Array {
  if (zeroPoint === MIDDLE) return channelMaxima;
  const [up, down] = [LEVELS / (TOP - zeroPoint), LEVELS / zeroPoint];
  return channelPeaks.map((peak, c) => Math.max(peak * up, channelMinima[c]! * down));
}

/** Returns the zero points worth a try. */
const zerosFor = ({ channelMinima, channelPeaks }: InputStatistics): readonly number[] =>
  largest(channelMinima) <= ONE_SIDED * largest(channelPeaks) ? [MIDDLE, ...LOW_ZEROS] : [MIDDLE];

/** s_j = max|x_j|^α / max|W_j|^(1 − α), with W's maximum over all layers that read x. */
export function smoothingOf(group: LinearGroup, channelMaxima: Float32Array, alpha: number): Float32Array {
  const weights = new Float32Array(channelMaxima.length);
  for (const { matrix } of group.layers)
    rowMaxima(matrix).forEach((m, j) => {
      weights[j] = Math.max(weights[j]!, m);
    });
  return channelMaxima.map((x, j) =>
    Math.max(SMALLEST, Math.max(x, SMALLEST) ** alpha / Math.max(weights[j]!, SMALLEST) ** (1 - alpha)),
  );
}

const stepOf = (ranges: Float32Array, smoothing: Float32Array, range: number): number =>
  (range * ranges.reduce((most, x, j) => Math.max(most, x / smoothing[j]!), 0)) / LEVELS || 1;

/** Returns the states as the engine sees them: step · q, [count, channels]. */
function quantizedStates(
  { sample, count }: InputStatistics,
  smoothing: Float32Array,
  step: number,
  zeroPoint: number,
): Float32Array {
  const channels = smoothing.length;
  const states = new Float32Array(count * channels);
  for (let i = 0; i < count; i++)
    for (let c = 0; c < channels; c++) {
      const q = Math.round(sample[i * channels + c]! / smoothing[c]! / step);
      states[i * channels + c] = step * Math.max(-zeroPoint, Math.min(TOP - zeroPoint, q));
    }
  return states;
}

/** Returns states [count, rows] · matrix [rows, columns]; the inner loop runs along memory. */
export function multiply(
  states: Float32Array,
  matrix: ArrayLike<number>,
  count: number,
  rows: number,
  columns: number,
): Float32Array {
  const out = new Float32Array(count * columns);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < rows; k++) {
      const x = states[i * rows + k]!;
      if (x === 0) continue;
      for (let j = 0, from = k * columns, to = i * columns; j < columns; j++) out[to + j]! += x * matrix[from + j]!;
    }
  return out;
}

interface LayerResult {
  readonly squaredError: number;
  readonly squared: number;
  /** Mean error of each column, which is added to the layer's output. */
  readonly correction: Float32Array;
}

function layerError(
  layer: LinearLayer,
  exact: Float32Array,
  states: Float32Array,
  smoothing: Float32Array,
  count: number,
): LayerResult {
  const [rows, columns] = layer.matrix.dims as [number, number];
  const { values, scales } = quantizeMatrix(float32View(layer.matrix), rows, columns, smoothing);
  const got = multiply(states, values, count, rows, columns);
  const correction = new Float32Array(columns);
  for (let i = 0; i < count; i++)
    for (let j = 0; j < columns; j++)
      correction[j]! += (exact[i * columns + j]! - got[i * columns + j]! * scales[j]!) / count;
  let squaredError = 0;
  let squared = 0;
  for (let i = 0; i < count; i++)
    for (let j = 0; j < columns; j++) {
      const y = exact[i * columns + j]!;
      const miss = y - got[i * columns + j]! * scales[j]! - correction[j]!;
      squaredError += miss * miss;
      squared += y * y;
    }
  return { squaredError, squared, correction };
}

function tryQuantization(
  group: LinearGroup,
  statistics: InputStatistics,
  exact: readonly Float32Array[],
  { alpha, range, zeroPoint }: Setting,
): GroupChoice {
  const ranges = rangesOf(statistics, zeroPoint);
  const smoothing = smoothingOf(group, ranges, alpha);
  const step = stepOf(ranges, smoothing, range);
  const states = quantizedStates(statistics, smoothing, step, zeroPoint);
  const results = group.layers.map((layer, i) => layerError(layer, exact[i]!, states, smoothing, statistics.count));
  const sum = (of: (r: LayerResult) => number) => results.reduce((total, r) => total + of(r), 0);
  const corrections = new Map(group.layers.map(({ weight }, i) => [weight, results[i]!.correction] as const));
  return {
    quantization: { group, smoothing, step, zeroPoint, corrections },
    error: Math.sqrt(
      sum((r) => r.squaredError) /
        Math.max(
          sum((r) => r.squared),
          1e-30,
        ),
    ),
    alpha,
    range,
  };
}

/** Chooses the best α and zero point at full range, then the best range for them. */
export function chooseGroup(group: LinearGroup, statistics: InputStatistics): GroupChoice {
  const exact = group.layers.map(({ matrix }) =>
    multiply(statistics.sample, float32View(matrix), statistics.count, matrix.dims[0]!, matrix.dims[1]!),
  );
  const attempt = (setting: Setting) => tryQuantization(group, statistics, exact, setting);
  const least = (settings: readonly Setting[]) =>
    settings.map(attempt).reduce((best, c) => (c.error < best.error ? c : best));
  const middle = least(ALPHAS.map((alpha) => ({ alpha, range: 1, zeroPoint: MIDDLE })));
  const zeros = zerosFor(statistics);
  const start =
    zeros.length === 1 ? middle : least(zeros.map((zeroPoint) => ({ alpha: middle.alpha, range: 1, zeroPoint })));
  const { alpha, quantization } = start;
  return least(RANGES.map((range) => ({ alpha, range, zeroPoint: quantization.zeroPoint })));
}
