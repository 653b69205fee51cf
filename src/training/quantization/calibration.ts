import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { createSession } from '../../inference/providers.ts';
import { freezeGraph, type Model } from '../../onnx/graph.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import type { LinearGroup } from '../../onnx/rewrites/linears.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { createRandom } from '../../util/random.ts';
import { rowFeeds } from '../step/feeds.ts';
import { lengthBatches } from '../step/row-scorer.ts';

/** Statistics of the value that a group of layers reads. */
export interface InputStatistics {
  /** Largest magnitude of each channel. */
  readonly channelMaxima: Float32Array;
  /** Sample of states, [count, channels], on which the error of quantized outputs is measured. */
  readonly sample: Float32Array;
  readonly count: number;
  /** Whether there is one state per row, not per token: after the pooling. */
  readonly pooled: boolean;
}

interface CalibrationOptions {
  readonly padId: number;
  readonly seed: number;
  /** States to sample per group. */
  readonly sampleSize: number;
  readonly threads?: number;
  readonly onBatch?: (done: number, total: number) => void;
}

/** Collects the statistics of one group. */
class Collector {
  readonly #maxima: Float32Array;
  readonly #sample: Float32Array;
  readonly #channels: number;
  readonly #size: number;
  readonly #random;
  pooled = false;
  #seen = 0;

  constructor(channels: number, size: number, seed: number) {
    this.#channels = channels;
    this.#size = size;
    this.#maxima = new Float32Array(channels);
    this.#sample = new Float32Array(size * channels);
    this.#random = createRandom(seed);
  }

  /** Adds the state at an offset. The sample is uniform (reservoir sampling, Vitter 1985). */
  add(values: Float32Array, at: number): void {
    const channels = this.#channels;
    for (let c = 0; c < channels; c++) {
      const magnitude = Math.abs(values[at + c]!);
      if (magnitude > this.#maxima[c]!) this.#maxima[c] = magnitude;
    }
    const place = this.#seen < this.#size ? this.#seen : this.#random.below(this.#seen + 1);
    this.#seen++;
    if (place < this.#size) this.#sample.set(values.subarray(at, at + channels), place * channels);
  }

  statistics(): InputStatistics {
    const count = Math.min(this.#seen, this.#size);
    return { channelMaxima: this.#maxima, sample: this.#sample, count, pooled: this.pooled };
  }
}

/** Makes the groups' inputs the outputs of the model. */
function withGroupInputs(model: Model, groups: readonly LinearGroup[]): Model {
  return { ...model, graph: freezeGraph({ ...model.graph, outputs: groups.map(({ input }) => ({ name: input })) }) };
}

/** Adds the states of tokens, not of padding. A value with one state per row (after the pooling) is added whole. */
function addStates(collector: Collector, value: Tensor, batch: readonly EncodedRow[]): void {
  const data = value.data as Float32Array;
  const channels = value.dims.at(-1)!;
  const length = value.dims.length === 3 ? value.dims[1]! : 1;
  collector.pooled = length === 1 && value.dims[0] === batch.length;
  batch.forEach((row, r) => {
    for (let t = 0; t < Math.min(length, row.ids.length); t++) collector.add(data, (r * length + t) * channels);
  });
}

/** Rows of a batch. */
const BATCH = 8;

/** Runs calibration rows through the float32 model and collects the statistics of every group's input. */
export async function calibrate(
  model: Model,
  groups: readonly LinearGroup[],
  rows: readonly EncodedRow[],
  options: CalibrationOptions,
): Promise<ReadonlyMap<string, InputStatistics>> {
  const session: InferenceSession = await createSession(encodeModel(withGroupInputs(model, groups)), {
    threads: options.threads ?? 0,
    optimization: 'basic',
  });
  const collectors = new Map(
    groups.map(({ input, layers }, i) => [
      input,
      new Collector(layers[0]!.matrix.dims[0]!, options.sampleSize, options.seed + i),
    ]),
  );
  try {
    let done = 0;
    const lengths = rows.map((row) => row.ids.length);
    for (const places of lengthBatches(lengths, { rows: BATCH })) {
      const batch = places.map((place) => rows[place]!);
      const results = await session.run(rowFeeds(batch, session.inputNames, options.padId));
      for (const [input, collector] of collectors) addStates(collector, results[input] as Tensor, batch);
      done += batch.length;
      options.onBatch?.(done, rows.length);
    }
  } finally {
    await session.release();
  }
  return new Map([...collectors].map(([input, collector]) => [input, collector.statistics()]));
}
