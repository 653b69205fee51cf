import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { createSession } from '../../inference/providers.ts';
import { freezeGraph, type Model } from '../../onnx/graph.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import type { LinearGroup } from '../../onnx/rewrites/linears.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { createRandom } from '../../util/random.ts';
import { rowFeeds } from '../step/feeds.ts';
import { lengthBatches } from '../step/row-scorer.ts';

/** What was seen of the value a group of layers reads. */
export interface InputStatistics {
  /** Largest magnitude of each channel. */
  readonly channelMaxima: Float32Array;
  /** A sample of tokens' states, [count, channels], for measuring what quantization does to the layers' outputs. */
  readonly sample: Float32Array;
  readonly count: number;
  /** One state a row, not one a token: the layers behind the pooling. */
  readonly pooled: boolean;
}

interface CalibrationOptions {
  readonly padId: number;
  readonly seed: number;
  /** Token states kept a group. */
  readonly sampleSize: number;
  readonly threads?: number;
  readonly onBatch?: (done: number, total: number) => void;
}

class Collector {
  readonly #maxima: Float32Array;
  readonly #sample: Float32Array;
  readonly #channels: number;
  readonly #size: number;
  readonly #random;
  /** One state a row, not one a token. */
  pooled = false;
  #seen = 0;

  constructor(channels: number, size: number, seed: number) {
    this.#channels = channels;
    this.#size = size;
    this.#maxima = new Float32Array(channels);
    this.#sample = new Float32Array(size * channels);
    this.#random = createRandom(seed);
  }

  /** Reservoir sampling (Vitter 1985): every state seen is as likely to be kept. */
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

/** The model with the groups' inputs as its outputs. */
function watching(model: Model, groups: readonly LinearGroup[]): Model {
  return { ...model, graph: freezeGraph({ ...model.graph, outputs: groups.map(({ input }) => ({ name: input })) }) };
}

/** States of real tokens only: what padding holds is never looked at. Values with one state a row (behind the pooling) count whole. */
function addStates(collector: Collector, value: Tensor, batch: readonly EncodedRow[]): void {
  const data = value.data as Float32Array;
  const channels = value.dims.at(-1)!;
  const length = value.dims.length === 3 ? value.dims[1]! : 1;
  collector.pooled = length === 1 && value.dims[0] === batch.length;
  batch.forEach((row, r) => {
    for (let t = 0; t < Math.min(length, row.ids.length); t++) collector.add(data, (r * length + t) * channels);
  });
}

const BATCH = 8;

/** Runs calibration rows through the float model and watches what every group of layers reads. */
export async function calibrate(
  model: Model,
  groups: readonly LinearGroup[],
  rows: readonly EncodedRow[],
  options: CalibrationOptions,
): Promise<ReadonlyMap<string, InputStatistics>> {
  const session: InferenceSession = await createSession(encodeModel(watching(model, groups)), {
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
