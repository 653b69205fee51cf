import { type InferenceSession, Tensor } from '../../onnx/engine.ts';
import { float32View, sizeOf } from '../../onnx/tensor.ts';
import type { Batch } from '../data/batches.ts';
import { type AdamWOptions, stepScalars } from '../optimizers/adamw.ts';
import { type LossScale, NO_SCALE, nextScale, skips } from '../optimizers/loss-scale.ts';
import { type BatchSize, batchFeeds, type SessionFeeds } from './feeds.ts';
import { NAMES, SCALARS } from './names.ts';
import { GROUPS, type Group, type TrainableWeight } from './trainable.ts';

/** Weights and moments by state name (`w`, `train.m1.w`, `train.m2.w`). */
export type StateArrays = ReadonlyMap<string, Float32Array>;

/** What one optimizer step came to. */
export interface StepResult {
  readonly loss: number;
  /** Global L2 norm of the gradients before clipping; undefined for an accumulating micro-step. */
  readonly norm: number | undefined;
  /** Scores of the last batch, [queries, passages], padding included. */
  readonly scores: Float32Array;
  /** Whether the step was skipped because gradients overflowed under the loss scale; the state is unchanged. */
  readonly skipped: boolean;
}

export type LearningRates = Readonly<Record<Group, number>>;

/** Makes further inputs of a batch: dropout masks, states of passages. @param size the batch is padded to, if it is. */
type ExtraFeeds = (batch: Batch, index: number, size?: BatchSize) => SessionFeeds | Promise<SessionFeeds>;

/** One optimizer step, from one batch or the averaged gradients of several. */
export interface StepInput {
  readonly batches: readonly Batch[];
  /** Counted from 1. */
  readonly step: number;
  readonly rates: LearningRates;
  readonly extra?: ExtraFeeds;
}

/** Takes optimizer steps and holds weights and moments. */
export interface Stepper {
  step(batches: readonly Batch[], step: number, rates: LearningRates, extra?: ExtraFeeds): Promise<StepResult>;
  /** Takes several steps, in one run of the session where the stepper supports it. */
  run(steps: readonly StepInput[]): Promise<StepResult[]>;
  /** Returns weights and moments. */
  state(): StateArrays;
  /** Returns the weights as inputs of a session, without copies. */
  tensors(): SessionFeeds;
  lossScale(): LossScale;
  /** Ends the stepper's own threads; it does not release sessions. */
  close?(): Promise<void>;
}

interface StepSessions {
  /** Of kind `apply` if there is an `accumulate`, else `step`. */
  readonly update: InferenceSession;
  readonly accumulate?: InferenceSession;
}

export interface StepperOptions {
  readonly weights: readonly TrainableWeight[];
  readonly optimizer: AdamWOptions;
  readonly padId: number;
  /** Weights and moments to continue from; if absent, the weights' own values and zero moments. */
  readonly state?: StateArrays;
  /** For float16 only. */
  readonly lossScale?: LossScale;
}

/** Two buffers per state tensor: a run reads one and writes the other, so steps allocate and copy nothing. */
interface Buffers {
  readonly current: Map<string, Tensor>;
  readonly spare: Map<string, Tensor>;
}

/** Wraps floats for a session without a copy. */
export const tensorLike = (data: Float32Array, dims: readonly number[]): Tensor =>
  new Tensor('float32', data, [...dims]);

const ownFloats = (length: number): Float32Array => new Float32Array(length);

/** Copies the weights and moments to start from. @param allocate returns memory of zeros. */
export function initialTensors(
  { weights, state }: Pick<StepperOptions, 'weights' | 'state'>,
  allocate: (length: number) => Float32Array = ownFloats,
): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const { name, value } of weights) {
    const moments = ([1, 2] as const).map((order) => NAMES.moment(order, name));
    for (const key of [name, ...moments]) {
      const source = state?.get(key) ?? (key === name ? float32View(value) : undefined);
      const data = allocate(sizeOf(value.dims));
      if (source) data.set(source);
      tensors.set(key, tensorLike(data, value.dims));
    }
  }
  return tensors;
}

const emptyLike = (tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map([...tensors].map(([name, t]) => [name, tensorLike(new Float32Array(t.size), t.dims)]));

/** Allocates the buffers for weights and moments. */
export function stateBuffers(options: StepperOptions): Buffers {
  const current = initialTensors(options);
  return { current, spare: emptyLike(current) };
}

function sumBuffers(weights: readonly TrainableWeight[]): Buffers {
  const make = () =>
    new Map(
      weights.map(({ name, value }) => [
        NAMES.accumulated(name),
        tensorLike(new Float32Array(sizeOf(value.dims)), value.dims),
      ]),
    );
  return { current: make(), spare: make() };
}

const scalar = (x: number): Tensor => new Tensor('float32', Float32Array.of(x), []);

/** Makes the scalar inputs of a step: learning rates, bias corrections and loss scale. */
export function scalarFeeds(
  rates: LearningRates,
  step: number,
  optimizer: AdamWOptions,
  scale: LossScale,
): SessionFeeds {
  const feeds: SessionFeeds = {
    [NAMES.lossScale]: scalar(scale.scale),
    [NAMES.unscale]: scalar(1 / scale.scale),
  };
  for (const group of GROUPS) {
    const values = stepScalars(rates[group], step - scale.skipped, optimizer);
    for (const name of SCALARS) feeds[NAMES.scalar(group, name)] = scalar(values[name]);
  }
  return feeds;
}

/** Names of a session's inputs and outputs that hold state; by default `w` and `next.w`. */
interface StateNames {
  readonly from: (state: string) => string;
  readonly after: (state: string) => string;
}

const STEP_NAMES: StateNames = { from: (state) => state, after: NAMES.next };

/** Runs a session with those of `feeds` that are its inputs. It reads state from one buffer and writes the other; then they swap roles. */
export async function runWithState(
  session: InferenceSession,
  feeds: SessionFeeds,
  buffers: readonly Buffers[],
  names: StateNames = STEP_NAMES,
): Promise<InferenceSession.OnnxValueMapType> {
  const inputs = new Set(session.inputNames);
  const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => inputs.has(name)));
  const outputs = new Set(session.outputNames);
  const fetches: Record<string, Tensor | null> = Object.fromEntries(session.outputNames.map((name) => [name, null]));
  const written: [Buffers, string][] = [];
  for (const owner of buffers)
    for (const [state, tensor] of owner.current) {
      if (inputs.has(names.from(state))) given[names.from(state)] = tensor;
      if (!outputs.has(names.after(state))) continue;
      fetches[names.after(state)] = owner.spare.get(state)!;
      written.push([owner, state]);
    }
  const results = await session.run(given, fetches as InferenceSession.FetchesType);
  for (const [{ current, spare }, state] of written) {
    const old = current.get(state)!;
    current.set(state, spare.get(state)!);
    spare.set(state, old);
  }
  return results;
}

interface Numbers {
  readonly loss: number;
  readonly norm: number | undefined;
  readonly scores: Float32Array;
}

function numbersOf(results: InferenceSession.OnnxValueMapType): Numbers {
  const number = (name: string): number | undefined =>
    (results[name] as Tensor | undefined)?.data[0] as number | undefined;
  return {
    loss: number(NAMES.loss)!,
    norm: number(NAMES.norm),
    scores: (results[NAMES.scores] as Tensor).data as Float32Array,
  };
}

/** Makes a `run` that takes its steps one by one. */
export const oneByOne =
  (step: Stepper['step']): Stepper['run'] =>
  async (steps) => {
    const results: StepResult[] = [];
    for (const s of steps) results.push(await step(s.batches, s.step, s.rates, s.extra));
    return results;
  };

/** Returns the loss scale after a step, and whether the step was skipped. @param scaled whether the precision needs a scale. */
export function lossScaleAfter(
  scale: LossScale,
  scaled: boolean,
  norm: number | undefined,
): { readonly scale: LossScale; readonly skipped: boolean } {
  if (!scaled) return { scale, skipped: false };
  const finite = Number.isFinite(norm);
  return { scale: nextScale(scale, finite), skipped: skips(scale, finite) };
}

/** Takes steps with the optimizer in the graph, one run of a session per (micro-)batch. */
export function createStepper(sessions: StepSessions, options: StepperOptions): Stepper {
  const buffers = stateBuffers(options);
  const sums = sessions.accumulate ? sumBuffers(options.weights) : undefined;
  const held = sums ? [buffers, sums] : [buffers];
  const scaled = options.lossScale !== undefined;
  let scale = options.lossScale ?? NO_SCALE;
  const step: Stepper['step'] = async (batches, number, rates, extra = () => ({})) => {
    const losses: number[] = [];
    const scalars = scalarFeeds(rates, number, options.optimizer, scale);
    for (const tensor of sums?.current.values() ?? []) (tensor.data as Float32Array).fill(0);
    let last: Numbers | undefined;
    for (const [i, batch] of batches.entries()) {
      const session = i < batches.length - 1 ? sessions.accumulate! : sessions.update;
      const own = { ...scalars, ...(await extra(batch, i)) };
      const feeds = { ...batchFeeds(batch, session.inputNames, options.padId), ...own };
      last = numbersOf(await runWithState(session, feeds, held));
      losses.push(last.loss);
    }
    const after = lossScaleAfter(scale, scaled, last!.norm);
    scale = after.scale;
    return { ...last!, loss: losses.reduce((a, b) => a + b, 0) / batches.length, skipped: after.skipped };
  };
  return {
    step,
    run: oneByOne(step),
    tensors: () => Object.fromEntries(options.weights.map(({ name }) => [name, buffers.current.get(name)!])),
    state: () => new Map([...buffers.current].map(([name, tensor]) => [name, tensor.data as Float32Array])),
    lossScale: () => scale,
  };
}
