import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { sizeOf } from '../onnx/tensor.ts';
import { batchFeeds } from './feeds.ts';
import { stepScalars } from './optimizers/adamw.ts';
import { movedRows, updateInPlace, updateTableInPlace, type WeightArrays } from './optimizers/host-adamw.ts';
import { type LossScale, NO_SCALE } from './optimizers/loss-scale.ts';
import { NAMES, type TableReadings, type TrainableWeight } from './step.ts';
import {
  initialTensors,
  judge,
  type LearningRates,
  oneByOne,
  type Stepper,
  type StepperOptions,
  scalarFeeds,
  tensorLike,
} from './stepper.ts';
import { createRowSums, squareSum } from './tables.ts';

type Results = InferenceSession.OnnxValueMapType;

/** Gradients of a step, summed over its micro-batches. */
interface Gathered {
  /** Buffers for the engine to write into, by output name. */
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** @param more whether other micro-batches follow or came before */
  add(results: Results, more: boolean): void;
  squares(): number;
  clear(): void;
}

interface Update extends Gathered {
  apply(weight: WeightArrays, move: Parameters<typeof updateInPlace>[2]): void;
}

function wholeWeight({ name, value }: TrainableWeight, options: StepperOptions): Update {
  const gradient = new Float32Array(sizeOf(value.dims));
  let sum: Float32Array | undefined;
  let summed = false;
  const total = (): Float32Array => (summed ? sum! : gradient);
  return {
    fetches: { [NAMES.gradient(name)]: tensorLike(gradient, value.dims) },
    add(_, more) {
      if (!more) return;
      sum ??= new Float32Array(gradient.length);
      if (!summed) sum.fill(0);
      summed = true;
      for (let i = 0; i < sum.length; i++) sum[i]! += gradient[i]!;
    },
    squares: () => squareSum(total()),
    apply: (arrays, move) => updateInPlace(arrays, total(), move, options.optimizer),
    clear() {
      summed = false;
    },
  };
}

function table(
  { name, value }: TrainableWeight,
  readings: number,
  start: WeightArrays,
  options: StepperOptions,
): Update {
  const sums = createRowSums(value.dims as readonly [number, number]);
  const moved = movedRows(start, value.dims[0]!);
  return {
    fetches: {},
    add(results) {
      for (let n = 0; n < readings; n++) {
        const [ids, rows] = [results[NAMES.ids(name, n)] as Tensor, results[NAMES.rows(name, n)] as Tensor];
        sums.add(ids.data as BigInt64Array, rows.data as Float32Array);
      }
    },
    squares: sums.squares,
    apply: (arrays, move) => updateTableInPlace(arrays, sums.row, moved, move, options.optimizer),
    clear: sums.clear,
  };
}

export interface HostStepperOptions extends StepperOptions {
  readonly tables: TableReadings;
}

/**
 * The optimizer outside of the engine: the graph gives gradients, AdamW goes over typed arrays in place. On a CPU that takes a fraction of
 * the time and memory of the same arithmetic as nodes, embedding tables most of all.
 * @param session of kind `gradients`
 */
export function createHostStepper(session: InferenceSession, options: HostStepperOptions): Stepper {
  const tensors = initialTensors(options);
  const data = (state: string): Float32Array => tensors.get(state)!.data as Float32Array;
  const weights = options.weights.map((w) => {
    const arrays = {
      weight: data(w.name),
      firstMoment: data(NAMES.moment(1, w.name)),
      secondMoment: data(NAMES.moment(2, w.name)),
    };
    const readings = options.tables.get(w.name);
    return { w, arrays, update: readings ? table(w, readings, arrays, options) : wholeWeight(w, options) };
  });
  const fed = Object.fromEntries(options.weights.map(({ name }) => [name, tensors.get(name)!]));
  const known: Record<string, Tensor> = Object.assign({}, ...weights.map(({ update }) => update.fetches));
  const fetches = Object.fromEntries(session.outputNames.map((name) => [name, known[name] ?? null]));
  const scaled = options.lossScale !== undefined;
  let scale: LossScale = options.lossScale ?? NO_SCALE;

  const apply = (rates: LearningRates, step: number, norm: number, mean: number): void => {
    const { clipNorm } = options.optimizer;
    const factor = Math.min(1, clipNorm / (norm + 1e-6)) * mean;
    for (const { w, arrays, update } of weights) {
      const scalars = stepScalars(rates[w.group], step - scale.skipped, options.optimizer);
      update.apply(arrays, { ...scalars, factor, decays: w.decays });
    }
  };
  const step: Stepper['step'] = async (batches, number, rates, extra = () => ({})) => {
    const losses: number[] = [];
    let scores = new Float32Array();
    const scalars = scalarFeeds(rates, number, options.optimizer, scale);
    for (const { update } of weights) update.clear();
    for (const [i, batch] of batches.entries()) {
      const feeds = { ...batchFeeds(batch, session.inputNames, options.padId), ...scalars, ...extra(batch, i), ...fed };
      const asked = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]));
      const results = await session.run(asked, fetches as InferenceSession.FetchesType);
      losses.push((results[NAMES.loss] as Tensor).data[0] as number);
      scores = (results[NAMES.scores] as Tensor).data as Float32Array<ArrayBuffer>;
      for (const { update } of weights) update.add(results, batches.length > 1);
    }
    const mean = 1 / (batches.length * scale.scale);
    const norm = mean * Math.sqrt(weights.reduce((sum, { update }) => sum + update.squares(), 0));
    // An update by numbers that are none would take the weights with it.
    if (Number.isFinite(norm)) apply(rates, number, norm, mean);
    const judged = judge(scale, scaled, norm);
    scale = judged.scale;
    return { loss: losses.reduce((a, b) => a + b, 0) / losses.length, norm, scores, skipped: judged.skipped };
  };
  return {
    step,
    run: oneByOne(step),
    tensors: () => fed,
    state: () => new Map([...tensors].map(([name, tensor]) => [name, tensor.data as Float32Array])),
    lossScale: () => scale,
  };
}
