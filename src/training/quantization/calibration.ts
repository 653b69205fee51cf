import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { createSession } from '../../inference/providers.ts';
import { freezeGraph, type Model } from '../../onnx/graph.ts';
import type { LinearGroup } from '../../onnx/rewrites/linears.ts';
import { createRandom } from '../../util/random.ts';
import type { ModelRow } from '../measure/side-rows.ts';
import { lengthBatches } from '../step/row-scorer.ts';
import { type Reader, readerOf } from './reader.ts';

/** Statistics of the value that a group of layers reads. */
export interface InputStatistics {
  /** Largest magnitude of each channel. */
  readonly channelMaxima: Float32Array;
  /** Largest magnitude of each channel among its negative values; 0 where it has none. */
  readonly channelMinima: Float32Array;
  /** Largest positive value of each channel; 0 where it has none. */
  readonly channelPeaks: Float32Array;
  /** Sample of states, [count, channels], on which the error of quantized outputs is measured. */
  readonly sample: Float32Array;
  readonly count: number;
}

interface CalibrationOptions {
  readonly padId: number;
  /** Of pairs, or the rows of a bi-encoder, if absent. */
  readonly reader?: Reader | undefined;
  readonly seed: number;
  /** States to sample per group. */
  readonly sampleSize: number;
  readonly threads?: number;
  readonly onBatch?: (done: number, total: number) => void;
}

/** Collects the statistics of one group. */
class Collector {
  readonly #maxima: Float32Array;
  readonly #minima: Float32Array;
  readonly #sample: Float32Array;
  readonly #channels: number;
  readonly #size: number;
  readonly #random;
  #seen = 0;

  constructor(channels: number, size: number, seed: number) {
    this.#channels = channels;
    this.#size = size;
    this.#maxima = new Float32Array(channels);
    this.#minima = new Float32Array(channels);
    this.#sample = new Float32Array(size * channels);
    this.#random = createRandom(seed);
  }

  /** Adds the state at an offset. The sample is uniform (reservoir sampling, Vitter 1985). */
  add(values: Float32Array, at: number): void {
    const channels = this.#channels;
    for (let c = 0; c < channels; c++) {
      const x = values[at + c]!;
      if (x > this.#maxima[c]!) this.#maxima[c] = x;
      else if (-x > this.#minima[c]!) this.#minima[c] = -x;
    }
    const place = this.#seen < this.#size ? this.#seen : this.#random.below(this.#seen + 1);
    this.#seen++;
    if (place < this.#size) this.#sample.set(values.subarray(at, at + channels), place * channels);
  }

  statistics(): InputStatistics {
    const count = Math.min(this.#seen, this.#size);
    const channelMaxima = this.#maxima.map((x, c) => Math.max(x, this.#minima[c]!));
    return {
      channelMaxima,
      channelMinima: this.#minima,
      channelPeaks: this.#maxima,
      sample: this.#sample,
      count,
    };
  }
}

/** A value of the model whose states are collected, [.., channels]. */
export interface StateValue {
  readonly name: string;
  readonly channels: number;
}

/** Returns the values that groups of layers read. */
export const inputsOf = (groups: readonly LinearGroup[]): readonly StateValue[] =>
  groups.map(({ input, layers }) => ({ name: input, channels: layers[0]!.matrix.dims[0]! }));

/** Makes the values the outputs of the model. */
function withOutputs(model: Model, values: readonly StateValue[]): Model {
  return { ...model, graph: freezeGraph({ ...model.graph, outputs: values.map(({ name }) => ({ name })) }) };
}

/** Adds the states of tokens, not of padding. Values with one state per row (after the pooling) or with heads are added whole. */
function addStates(collector: Collector, value: Tensor, tokens: readonly number[]): void {
  const data = value.data as Float32Array;
  const channels = value.dims.at(-1)!;
  if (value.dims.length > 3) {
    for (let at = 0; at < data.length; at += channels) collector.add(data, at);
    return;
  }
  const length = value.dims.length === 3 ? value.dims[1]! : 1;
  tokens.forEach((count, r) => {
    for (let t = 0; t < Math.min(length, count); t++) collector.add(data, (r * length + t) * channels);
  });
}

/** Rows of a batch. */
const BATCH = 8;

/** Runs calibration rows through a model and collects the statistics of the values, by name. */
export async function calibrate(
  model: Model,
  values: readonly StateValue[],
  rows: readonly ModelRow[],
  options: CalibrationOptions,
): Promise<ReadonlyMap<string, InputStatistics>> {
  const session: InferenceSession = await createSession(withOutputs(model, values), {
    threads: options.threads ?? 0,
    optimization: 'basic',
  });
  const collectors = new Map(
    values.map(({ name, channels }, i) => [name, new Collector(channels, options.sampleSize, options.seed + i)]),
  );
  try {
    let done = 0;
    const reader = readerOf(options);
    const lengths = rows.map((row) => reader.tokensOf(row));
    for (const places of lengthBatches(lengths, { rows: BATCH })) {
      const batch = places.map((place) => rows[place]!);
      const tokens = places.map((place) => lengths[place]!);
      const results = await session.run(await reader.feeds(batch, session.inputNames));
      for (const [name, collector] of collectors) addStates(collector, results[name] as Tensor, tokens);
      done += batch.length;
      options.onBatch?.(done, rows.length);
    }
  } finally {
    await session.release();
  }
  return new Map([...collectors].map(([name, collector]) => [name, collector.statistics()]));
}
