import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { float32View } from '../onnx/tensor.ts';
import type { Batch } from './data/batches.ts';
import { batchFeeds, type EngineFeeds } from './feeds.ts';
import { type AdamWOptions, stepScalars } from './optimizers/adamw.ts';
import { GROUPS, type Group, NAMES, SCALARS, type TrainableWeight } from './step.ts';

/** Weights and moments by state name (`w`, `train.m1.w`, `train.m2.w`). */
export type StateArrays = ReadonlyMap<string, Float32Array>;

export interface StepResult {
  readonly loss: number;
  /** Global L2 norm of the gradients before clipping; undefined for an accumulating micro-step. */
  readonly norm: number | undefined;
  /** Scores of the batch at their places, padding included. */
  readonly scores: Float32Array;
}

export type LearningRates = Readonly<Record<Group, number>>;

/**
 * Runs training sessions over one state. Each state tensor has two buffers: a run reads one and writes the other, so nothing is allocated
 * or copied from step to step.
 */
export interface Stepper {
  /** One update from one batch, or from several whose gradients are averaged. @param step counted from 1. */
  step(
    batches: readonly Batch[],
    step: number,
    rates: LearningRates,
    extra?: (batch: Batch, index: number) => EngineFeeds,
  ): Promise<StepResult>;
  state(): StateArrays;
  /** The weights as the engine takes them, without copies. */
  tensors(): EngineFeeds;
}

export interface StepSessions {
  /** Of kind `step`, or `apply` where `accumulate` is there. */
  readonly update: InferenceSession;
  readonly accumulate?: InferenceSession;
}

export interface StepperOptions {
  readonly weights: readonly TrainableWeight[];
  readonly optimizer: AdamWOptions;
  readonly padId: number;
  /** State to go on from; weights' own values and zero moments if absent. */
  readonly state?: StateArrays;
}

interface Buffers {
  readonly current: Map<string, Tensor>;
  readonly spare: Map<string, Tensor>;
}

const tensorLike = (data: Float32Array, dims: readonly number[]): Tensor => new Tensor('float32', data, [...dims]);

function initialState({ weights, state }: StepperOptions): Buffers {
  const current = new Map<string, Tensor>();
  const spare = new Map<string, Tensor>();
  for (const { name, value } of weights)
    for (const [key, fresh] of [
      [name, () => float32View(value)],
      [NAMES.moment(1, name), () => undefined],
      [NAMES.moment(2, name), () => undefined],
    ] as const) {
      const source = state?.get(key) ?? fresh();
      const size = value.dims.reduce((a, b) => a * b, 1);
      current.set(key, tensorLike(source ? Float32Array.from(source) : new Float32Array(size), value.dims));
      spare.set(key, tensorLike(new Float32Array(size), value.dims));
    }
  return { current, spare };
}

function sumBuffers(weights: readonly TrainableWeight[]): Buffers {
  const make = () =>
    new Map(
      weights.map(({ name, value }) => [
        NAMES.accumulated(name),
        tensorLike(new Float32Array(value.dims.reduce((a, b) => a * b, 1)), value.dims),
      ]),
    );
  return { current: make(), spare: make() };
}

const scalar = (x: number): Tensor => new Tensor('float32', Float32Array.of(x), []);

function scalarFeeds(rates: LearningRates, step: number, optimizer: AdamWOptions): EngineFeeds {
  const feeds: EngineFeeds = {};
  for (const group of GROUPS) {
    const values = stepScalars(rates[group], step, optimizer);
    for (const name of SCALARS) feeds[NAMES.scalar(group, name)] = scalar(values[name]);
  }
  return feeds;
}

/** Feeds the session asks for, and buffers for the state it writes. */
async function run(
  session: InferenceSession,
  feeds: EngineFeeds,
  buffers: readonly Buffers[],
): Promise<InferenceSession.OnnxValueMapType> {
  const asked = new Set(session.inputNames);
  const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => asked.has(name)));
  for (const { current } of buffers) for (const [name, tensor] of current) if (asked.has(name)) given[name] = tensor;
  const fetches: Record<string, Tensor | null> = {};
  const written: [Buffers, string][] = [];
  for (const output of session.outputNames) {
    const state = output.startsWith('next.') ? output.slice('next.'.length) : undefined;
    const owner = state === undefined ? undefined : buffers.find(({ spare }) => spare.has(state));
    fetches[output] = owner?.spare.get(state!) ?? null;
    if (owner) written.push([owner, state!]);
  }
  const results = await session.run(given, fetches as InferenceSession.FetchesType);
  for (const [{ current, spare }, state] of written) {
    const old = current.get(state)!;
    current.set(state, spare.get(state)!);
    spare.set(state, old);
  }
  return results;
}

function resultOf(results: InferenceSession.OnnxValueMapType): StepResult {
  const number = (name: string): number | undefined =>
    (results[name] as Tensor | undefined)?.data[0] as number | undefined;
  return {
    loss: number(NAMES.loss)!,
    norm: number(NAMES.norm),
    scores: (results[NAMES.scores] as Tensor).data as Float32Array,
  };
}

export function createStepper(sessions: StepSessions, options: StepperOptions): Stepper {
  const buffers = initialState(options);
  const sums = sessions.accumulate ? sumBuffers(options.weights) : undefined;
  const feedsOf = (session: InferenceSession, batch: Batch) => batchFeeds(batch, session.inputNames, options.padId);
  return {
    async step(batches, step, rates, extra = () => ({})) {
      const last = batches.at(-1)!;
      const losses: number[] = [];
      for (const tensor of sums?.current.values() ?? []) (tensor.data as Float32Array).fill(0);
      for (const [i, batch] of batches.slice(0, -1).entries()) {
        const session = sessions.accumulate!;
        losses.push(
          resultOf(await run(session, { ...feedsOf(session, batch), ...extra(batch, i) }, [buffers, sums!])).loss,
        );
      }
      const feeds = {
        ...feedsOf(sessions.update, last),
        ...scalarFeeds(rates, step, options.optimizer),
        ...extra(last, batches.length - 1),
      };
      const result = resultOf(await run(sessions.update, feeds, sums ? [buffers, sums] : [buffers]));
      const loss = [...losses, result.loss].reduce((a, b) => a + b, 0) / batches.length;
      return { ...result, loss };
    },
    tensors: () => Object.fromEntries(options.weights.map(({ name }) => [name, buffers.current.get(name)!])),
    state: () => new Map([...buffers.current].map(([name, tensor]) => [name, tensor.data as Float32Array])),
  };
}
