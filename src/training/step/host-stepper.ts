import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { sizeOf } from '../../onnx/tensor.ts';
import type { Batch } from '../data/batches.ts';
import { stepScalars } from '../optimizers/adamw.ts';
import type { Move, WeightArrays } from '../optimizers/adamw-kernel.ts';
import { createAdamWTeam, sharedFloats } from '../optimizers/adamw-team.ts';
import type { WeightWork } from '../optimizers/adamw-work.ts';
import { movedRows, updateTableInPlace } from '../optimizers/host-adamw.ts';
import { type LossScale, NO_SCALE } from '../optimizers/loss-scale.ts';
import { batchFeeds, type SessionFeeds } from './feeds.ts';
import { NAMES } from './names.ts';
import type { TableLookups } from './step.ts';
import {
  initialTensors,
  type LearningRates,
  lossScaleAfter,
  oneByOne,
  type Stepper,
  type StepperOptions,
  scalarFeeds,
  tensorLike,
} from './stepper.ts';
import { createRowSums } from './tables.ts';
import type { TrainableWeight } from './trainable.ts';

type Results = InferenceSession.OnnxValueMapType;

/** Sums the gradients of one weight over the micro-batches of a step. */
interface GradientSum {
  /** Buffers for the engine to write into, by output name. */
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** Adds a micro-batch's gradient. @param index of the micro-batch. @param count micro-batches of the step. */
  add(results: Results, index: number, count: number): void;
}

/** An embedding table, whose gradient is that of the rows that were read. */
interface TableUpdate extends GradientSum {
  squares(): number;
  apply(move: Move): void;
  clear(): void;
}

/** A weight with a dense gradient. */
interface DenseUpdate extends GradientSum {
  readonly work: WeightWork;
}

function denseUpdate({ name, value }: TrainableWeight, arrays: WeightArrays): DenseUpdate {
  const gradient = sharedFloats(sizeOf(value.dims));
  let sum: Float32Array | undefined;
  return {
    work: { arrays, gradient },
    fetches: { [NAMES.gradient(name)]: tensorLike(gradient, value.dims) },
    add(_, index, count) {
      if (count === 1) return;
      sum ??= new Float32Array(gradient.length);
      if (index === 0) sum.set(gradient);
      else for (let i = 0; i < sum.length; i++) sum[i]! += gradient[i]!;
      if (index === count - 1) gradient.set(sum);
    },
  };
}

function tableUpdate(
  { name, value }: TrainableWeight,
  readings: number,
  arrays: WeightArrays,
  options: StepperOptions,
): TableUpdate {
  const sums = createRowSums(value.dims as readonly [number, number]);
  const moved = movedRows(arrays, value.dims[0]!);
  return {
    fetches: {},
    add(results) {
      for (let n = 0; n < readings; n++) {
        const [ids, rows] = [results[NAMES.ids(name, n)] as Tensor, results[NAMES.rows(name, n)] as Tensor];
        sums.add(ids.data as BigInt64Array, rows.data as Float32Array);
      }
    },
    squares: sums.squares,
    apply: (move) => updateTableInPlace(arrays, sums.row, moved, move, options.optimizer),
    clear: sums.clear,
  };
}

interface HostStepperOptions extends StepperOptions {
  readonly tables: TableLookups;
  /** Frozen weights that are inputs of the session. */
  readonly fixed?: SessionFeeds;
  /** Threads that update the weights; 1 if absent. */
  readonly threads?: number;
}

/** Gradients of all weights in a step, and AdamW over them. */
interface HostOptimizer {
  /** Buffers for the engine to write gradients into, by output name. */
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** Forgets the gradients of the step before. */
  clear(): void;
  /** Adds a micro-batch's gradients. @param index of the micro-batch. @param count micro-batches of the step. */
  add(results: Results, index: number, count: number): void;
  /** Returns the global L2 norm of the summed gradients. */
  norm(): number;
  /** Updates all weights. */
  update(moveOf: (weight: TrainableWeight) => Move): void;
  close(): Promise<void>;
}

function openOptimizer(options: HostStepperOptions, tensors: ReadonlyMap<string, Tensor>): HostOptimizer {
  const data = (state: string): Float32Array => tensors.get(state)!.data as Float32Array;
  const arraysOf = ({ name }: TrainableWeight): WeightArrays => ({
    weight: data(name),
    firstMoment: data(NAMES.moment(1, name)),
    secondMoment: data(NAMES.moment(2, name)),
  });
  const dense = options.weights
    .filter(({ name }) => !options.tables.has(name))
    .map((w) => ({ w, update: denseUpdate(w, arraysOf(w)) }));
  const tables = options.weights
    .filter(({ name }) => options.tables.has(name))
    .map((w) => ({ w, update: tableUpdate(w, options.tables.get(w.name)!, arraysOf(w), options) }));
  const updates: readonly GradientSum[] = [...dense, ...tables].map(({ update }) => update);
  const team = createAdamWTeam(
    dense.map(({ update }) => update.work),
    options.optimizer,
    options.threads ?? 1,
  );
  return {
    fetches: Object.assign({}, ...updates.map(({ fetches }) => fetches)),
    clear() {
      for (const { update } of tables) update.clear();
    },
    add(results, index, count) {
      for (const update of updates) update.add(results, index, count);
    },
    norm: () => Math.sqrt(tables.reduce((sum, { update }) => sum + update.squares(), team.squares())),
    update(moveOf) {
      team.update(dense.map(({ w }) => moveOf(w)));
      for (const { w, update } of tables) update.apply(moveOf(w));
    },
    close: team.close,
  };
}

/**
 * Takes steps with the optimizer on the host: the graph gives gradients, and AdamW updates typed arrays in place. On a CPU this takes a
 * fraction of the time and memory of the same arithmetic as nodes, above all for embedding tables.
 * @param session of a graph of kind `gradients`.
 */
export function createHostStepper(session: InferenceSession, options: HostStepperOptions): Stepper {
  const tensors = initialTensors(options, sharedFloats);
  const optimizer = openOptimizer(options, tensors);
  const weights = Object.fromEntries(options.weights.map(({ name }) => [name, tensors.get(name)!]));
  const fetches = Object.fromEntries(session.outputNames.map((name) => [name, optimizer.fetches[name] ?? null]));
  const scaled = options.lossScale !== undefined;
  let scale: LossScale = options.lossScale ?? NO_SCALE;

  const run = (batch: Batch, extra: SessionFeeds): Promise<Results> => {
    const feeds = { ...batchFeeds(batch, session.inputNames, options.padId), ...extra, ...weights, ...options.fixed };
    const inputs = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]));
    return session.run(inputs, fetches as InferenceSession.FetchesType);
  };
  const update = (rates: LearningRates, step: number, norm: number, mean: number): void => {
    const factor = Math.min(1, options.optimizer.clipNorm / (norm + 1e-6)) * mean;
    optimizer.update(({ group, decays, rate = 1 }) => {
      const scalars = stepScalars(rate * rates[group], step - scale.skipped, options.optimizer);
      return { ...scalars, factor, decays };
    });
  };
  const step: Stepper['step'] = async (batches, number, rates, extra = () => ({})) => {
    const losses: number[] = [];
    let scores = new Float32Array();
    const scalars = scalarFeeds(rates, number, options.optimizer, scale);
    optimizer.clear();
    for (const [i, batch] of batches.entries()) {
      const results = await run(batch, { ...scalars, ...(await extra(batch, i)) });
      losses.push((results[NAMES.loss] as Tensor).data[0] as number);
      scores = (results[NAMES.scores] as Tensor).data as Float32Array<ArrayBuffer>;
      optimizer.add(results, i, batches.length);
    }
    const mean = 1 / (batches.length * scale.scale);
    const norm = mean * optimizer.norm();
    // An update by NaN or infinity would destroy the weights.
    if (Number.isFinite(norm)) update(rates, number, norm, mean);
    const after = lossScaleAfter(scale, scaled, norm);
    scale = after.scale;
    return { loss: losses.reduce((a, b) => a + b, 0) / losses.length, norm, scores, skipped: after.skipped };
  };
  return {
    step,
    run: oneByOne(step),
    tensors: () => weights,
    state: () => new Map([...tensors].map(([name, tensor]) => [name, tensor.data as Float32Array])),
    lossScale: () => scale,
    close: optimizer.close,
  };
}
