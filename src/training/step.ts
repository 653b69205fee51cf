import { GraphBuilder, modelOf, OPSET } from '../onnx/builder.ts';
import type { Graph, Model, ValueInfo } from '../onnx/graph.ts';
import { probeFeeds, probeShapes, type Shapes } from '../onnx/probe.ts';
import type { Feeds } from '../onnx/session.ts';
import { float32, sizeOf, type Tensor } from '../onnx/tensor.ts';
import { differentiate, weightsToInputs } from './gradients/index.ts';
import type { Objective } from './objectives/objective.ts';
import { type AdamWOptions, adamw, clipFactor, globalNorm, type StepScalars } from './optimizers/adamw.ts';

/*
 * Training as one graph: encoder and head → scores in lists → objective → gradients → clipping → AdamW. Weights and optimizer state are
 * inputs and outputs, so a run of the session is a step, and a step has no state of its own.
 */

export const SCALARS = ['learningRate', 'stepSize', 'secondScale'] as const satisfies readonly (keyof StepScalars)[];
/** Learning rates may differ between the backbone and what was put on it. */
export const GROUPS = ['backbone', 'head'] as const;
export type Group = (typeof GROUPS)[number];

export interface TrainableWeight {
  /** Name of the initializer. */
  readonly name: string;
  readonly value: Tensor;
  readonly decays: boolean;
  readonly group: Group;
}

/** Names of what a training graph is fed and gives, apart from the encoder's own inputs. */
export const NAMES = {
  placement: 'train.placement',
  relevance: 'train.relevance',
  teacher: 'train.teacher',
  valid: 'train.valid',
  loss: 'train.loss',
  norm: 'train.norm',
  scores: 'train.scores',
  scalar: (group: Group, scalar: keyof StepScalars) => `train.${group}.${scalar}`,
  moment: (order: 1 | 2, weight: string) => `train.m${order}.${weight}`,
  accumulated: (weight: string) => `train.sum.${weight}`,
  next: (state: string) => `next.${state}`,
} as const;

/**
 * `step`: one batch, one update. `accumulate`: adds a micro-batch's gradients to the sums it is fed. `apply`: as `step`, with the sums of
 * earlier micro-batches added and everything divided by their number.
 */
export type StepKind = 'step' | 'accumulate' | 'apply';

export interface StepOptions {
  readonly kind: StepKind;
  readonly objective: Objective;
  readonly optimizer: AdamWOptions;
  readonly weights: readonly TrainableWeight[];
  /** Micro-batches of a step. */
  readonly microBatches: number;
  /** Feeds of the probing batch beside the encoder's usual inputs, such as a dropout mask. */
  readonly probe?: Feeds;
}

/** Appends the objective: logits [rows, 1] are put at their places in [queries, passages] by a product with a 0/1 matrix. */
function appendLoss(g: GraphBuilder, logits: string, objective: Objective): string {
  const placement = g.input(NAMES.placement, 'float32', ['places', 'rows']);
  const lists = [NAMES.relevance, NAMES.teacher, NAMES.valid].map((name) =>
    g.input(name, 'float32', ['queries', 'passages']),
  );
  const [relevance, teacher, valid] = lists as [string, string, string];
  const placed = g.matmul(placement, g.reshape(logits, [-1, 1]));
  const scores = g.reshape(placed, g.shape(valid));
  const loss = objective.build(g, { scores, relevance, teacher, valid });
  g.output(scores, 'float32', ['queries', 'passages'], NAMES.scores);
  g.output(loss, 'float32', [], NAMES.loss);
  return loss;
}

/** Probing sizes of the lists: other numbers than those of batch and length. */
const PROBE_LISTS = [2, 5] as const;

function lossProbe(feeds: Feeds): Feeds {
  const [queries, passages] = PROBE_LISTS;
  const rows = Object.values(feeds)[0]!.dims[0]!;
  const places = queries * passages;
  const list = (fill: (i: number) => number) =>
    float32(
      [queries, passages],
      Float32Array.from({ length: places }, (_, i) => fill(i)),
    );
  return {
    ...feeds,
    [NAMES.placement]: float32(
      [places, rows],
      Float32Array.from({ length: places * rows }, (_, i) => +(i % (rows + 1) === 0)),
    ),
    [NAMES.relevance]: list((i) => +(i % passages === 0)),
    [NAMES.teacher]: list((i) => -i),
    [NAMES.valid]: list(() => 1),
  };
}

async function probe(
  graph: Graph,
  opset: number,
  encoderInputs: readonly ValueInfo[],
  { weights, probe: more = {} }: StepOptions,
): Promise<Shapes> {
  const values = Object.fromEntries(weights.map((w) => [w.name, w.value]));
  return probeShapes(modelOf(graph, opset), { ...lossProbe(probeFeeds(encoderInputs)), ...values, ...more });
}

type ScalarNames = Readonly<Record<Group, Readonly<Record<keyof StepScalars, string>>>>;

function scalarInputs(g: GraphBuilder): ScalarNames {
  const of = (group: Group) =>
    Object.fromEntries(SCALARS.map((s) => [s, g.input(NAMES.scalar(group, s), 'float32', [])]));
  return Object.fromEntries(GROUPS.map((group) => [group, of(group)])) as ScalarNames;
}

/** Gradients of the step: this batch's alone, or the mean with those summed before. */
function stepGradients(
  g: GraphBuilder,
  gradients: ReadonlyMap<string, string>,
  { kind, weights, microBatches }: StepOptions,
): Map<string, string> {
  const total = new Map<string, string>();
  for (const { name, value } of weights) {
    const own = gradients.get(name);
    if (own === undefined) continue;
    if (kind === 'step') total.set(name, own);
    else {
      const sum = g.add(g.input(NAMES.accumulated(name), 'float32', value.dims), own);
      total.set(name, kind === 'apply' ? g.mul(sum, g.scalar(1 / microBatches)) : sum);
    }
  }
  return total;
}

function appendUpdate(
  g: GraphBuilder,
  gradients: ReadonlyMap<string, string>,
  { optimizer, weights }: StepOptions,
): void {
  const scalars = scalarInputs(g);
  const norm = globalNorm(g, [...gradients.values()]);
  g.output(norm, 'float32', [], NAMES.norm);
  const factor = Number.isFinite(optimizer.clipNorm) ? clipFactor(g, norm, optimizer.clipNorm) : undefined;
  for (const { name, value, decays, group } of weights) {
    const gradient = gradients.get(name);
    if (gradient === undefined) continue;
    const [firstMoment, secondMoment] = ([1, 2] as const).map((order) =>
      g.input(NAMES.moment(order, name), 'float32', value.dims),
    ) as [string, string];
    const updated = adamw(
      g,
      { weight: name, gradient, firstMoment, secondMoment, decays },
      { ...scalars[group], factor },
      optimizer,
    );
    g.output(updated.weight, 'float32', value.dims, NAMES.next(name));
    g.output(updated.firstMoment, 'float32', value.dims, NAMES.next(firstMoment));
    g.output(updated.secondMoment, 'float32', value.dims, NAMES.next(secondMoment));
  }
}

export interface TrainingGraph {
  readonly model: Model;
  /** Weights the loss depends on; others stay as they are. */
  readonly trained: readonly TrainableWeight[];
}

/**
 * Builds the graph of a training step.
 * @param encoder canonical model (`prepare`) whose value `logits` is [rows, 1].
 * @throws WinnowError `unsupported_op` where no gradient rule is known.
 */
export async function buildStep(encoder: Model, logits: string, options: StepOptions): Promise<TrainingGraph> {
  const opset = Math.max(OPSET, encoder.opsets[''] ?? OPSET);
  const forward = GraphBuilder.from(
    weightsToInputs(
      encoder.graph,
      options.weights.map((w) => w.name),
    ),
    { outputs: false },
  );
  const loss = appendLoss(forward, logits, options.objective);
  const graph = forward.build();
  const shapes = await probe(graph, opset, encoder.graph.inputs, options);
  const result = differentiate(graph, { of: loss, wrt: options.weights.map((w) => w.name), shapes });
  const g = GraphBuilder.from(result.graph);
  const gradients = stepGradients(g, result.gradients, options);
  if (options.kind === 'accumulate')
    for (const [name, sum] of gradients) g.output(sum, 'float32', undefined, NAMES.next(NAMES.accumulated(name)));
  else appendUpdate(g, gradients, options);
  return { model: modelOf(g.build(), opset), trained: options.weights.filter((w) => gradients.has(w.name)) };
}

/** The objective alone, from scores already placed: what a batch costs a model that gives every passage the same score. */
export function buildLoss(objective: Objective): Model {
  const g = new GraphBuilder('loss');
  const [scores, relevance, teacher, valid] = [NAMES.scores, NAMES.relevance, NAMES.teacher, NAMES.valid].map((name) =>
    g.input(name, 'float32', ['queries', 'passages']),
  ) as [string, string, string, string];
  g.output(objective.build(g, { scores, relevance, teacher, valid }), 'float32', [], NAMES.loss);
  return modelOf(g.build());
}

/** Elements of all weights, for plans and cards. */
export const parameterCount = (weights: readonly TrainableWeight[]): number =>
  weights.reduce((sum, w) => sum + sizeOf(w.value.dims), 0);
