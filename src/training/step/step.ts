import { differentiate } from '../../autodiff/differentiate.ts';
import { GraphBuilder, modelOf, OPSET } from '../../onnx/builder.ts';
import {
  consumers,
  freezeGraph,
  freezeNode,
  type Graph,
  type Model,
  type Node,
  renameReads,
  type ValueInfo,
} from '../../onnx/graph.ts';
import { probeFeeds, probeShapes, type Shapes } from '../../onnx/probe.ts';
import { fuseBias } from '../../onnx/rewrites/bias.ts';
import { fuseScale } from '../../onnx/rewrites/fuse.ts';
import type { Feeds } from '../../onnx/runner.ts';
import { float32 } from '../../onnx/tensor.ts';
import { weightsToInputs } from '../../onnx/weights.ts';
import type { Objective } from '../objectives/objective.ts';
import { type AdamWOptions, adamw, clipFactor, globalNorm, type StepScalars } from '../optimizers/adamw.ts';
import { NAMES, SCALARS } from './names.ts';
import { type Packing, packed } from './packing.ts';
import { halfProducts, type Precision, retype } from './precision.ts';
import { findTables } from './tables.ts';
import { GROUPS, type Group, type TrainableWeight } from './trainable.ts';

/*
 * A training step as one graph: encoder and head → scores in lists → objective → gradients → clipping → AdamW. Weights and optimizer state are
 * inputs and outputs, so one run of the session is one step, and the session holds no state.
 */

/**
 * `step`: updates the weights from one batch. `accumulate`: adds a micro-batch's gradients to its input sums. `apply`: as `step`, from the
 * mean over this and earlier micro-batches. `gradients`: returns one batch's gradients for an optimizer on the host, those of embedding
 * tables as rows.
 */
export type StepKind = 'step' | 'accumulate' | 'apply' | 'gradients';

interface StepOptions extends Packing {
  readonly kind: StepKind;
  readonly objective: Objective;
  readonly optimizer: AdamWOptions;
  readonly weights: readonly TrainableWeight[];
  /** Frozen weights that are inputs. */
  readonly fixed?: readonly TrainableWeight[];
  /** Micro-batches of a step. */
  readonly microBatches: number;
  /** Further inputs of the probing batch, such as dropout masks. */
  readonly probe?: Feeds;
  /** Precision of the matrix products; float32 if absent. `fp16` adds a loss scale. */
  readonly precision?: Precision;
}

/** Adds the inputs that hold what a list states about its passages, [queries, passages]. */
function listInputs(g: GraphBuilder) {
  const input = (name: string): string => g.input(name, 'float32', ['queries', 'passages']);
  return {
    relevance: input(NAMES.relevance),
    teacher: input(NAMES.teacher),
    valid: input(NAMES.valid),
    weight: input(NAMES.weight),
  };
}

/** Appends the objective. A product with a 0/1 matrix moves logits [rows, 1] to their places in [queries, passages]. */
function appendLoss(g: GraphBuilder, logits: string, objective: Objective): string {
  const placement = g.input(NAMES.placement, 'float32', ['places', 'rows']);
  const lists = listInputs(g);
  const placed = g.matmul(placement, g.reshape(logits, [-1, 1]));
  const scores = g.reshape(placed, g.shape(lists.valid));
  const loss = objective.build(g, { scores, ...lists });
  g.output(scores, 'float32', ['queries', 'passages'], NAMES.scores);
  g.output(loss, 'float32', [], NAMES.loss);
  return loss;
}

/** Sizes of the lists in the probing batch, different from those of batch and length. */
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
    [NAMES.weight]: list(() => 1),
  };
}

async function probe(
  graph: Graph,
  opset: number,
  encoderInputs: readonly ValueInfo[],
  { weights, fixed = [], probe: more = {} }: StepOptions,
): Promise<Shapes> {
  const values = Object.fromEntries([...weights, ...fixed].map((w) => [w.name, w.value]));
  return probeShapes(modelOf(graph, opset), { ...lossProbe(probeFeeds(encoderInputs)), ...values, ...more });
}

type ScalarNames = Readonly<Record<Group, Readonly<Record<keyof StepScalars, string>>>>;

function scalarInputs(g: GraphBuilder): ScalarNames {
  const of = (group: Group) =>
    Object.fromEntries(SCALARS.map((s) => [s, g.input(NAMES.scalar(group, s), 'float32', [])]));
  return Object.fromEntries(GROUPS.map((group) => [group, of(group)])) as ScalarNames;
}

/** Multiplies the learning rate by a weight's own factor. */
function scaledRates(g: GraphBuilder, scalars: ScalarNames[Group], rate: number | undefined): ScalarNames[Group] {
  if (rate === undefined || rate === 1) return scalars;
  const scaled = (scalar: string): string => g.mul(scalar, g.scalar(rate));
  return { ...scalars, learningRate: scaled(scalars.learningRate), stepSize: scaled(scalars.stepSize) };
}

/** Returns the gradients of the step: those of this batch, or their sum or mean with those of earlier micro-batches. */
function stepGradients(
  g: GraphBuilder,
  gradients: ReadonlyMap<string, string>,
  { kind, weights, microBatches }: StepOptions,
): Map<string, string> {
  const total = new Map<string, string>();
  for (const { name, value } of weights) {
    const own = gradients.get(name);
    if (own === undefined) continue;
    if (kind === 'step' || kind === 'gradients') total.set(name, own);
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
  { optimizer, weights, precision }: StepOptions,
): void {
  const scalars = scalarInputs(g);
  const unscale = precision === 'fp16' ? g.input(NAMES.unscale, 'float32', []) : undefined;
  const raw = globalNorm(g, [...gradients.values()]);
  const norm = unscale === undefined ? raw : g.mul(raw, unscale);
  g.output(norm, 'float32', [], NAMES.norm);
  const clip = Number.isFinite(optimizer.clipNorm) ? clipFactor(g, norm, optimizer.clipNorm) : undefined;
  const factor = unscale === undefined ? clip : clip === undefined ? unscale : g.mul(clip, unscale);
  // An overflow leaves the state unchanged; so does NaN, for which `less` is false.
  const finite = unscale === undefined ? undefined : g.less(norm, g.scalar(Number.POSITIVE_INFINITY));
  const next = (value: string, before: string): string =>
    finite === undefined ? value : g.where(finite, value, before);
  for (const { name, value, decays, group, rate } of weights) {
    const gradient = gradients.get(name);
    if (gradient === undefined) continue;
    const [firstMoment, secondMoment] = ([1, 2] as const).map((order) =>
      g.input(NAMES.moment(order, name), 'float32', value.dims),
    ) as [string, string];
    const updated = adamw(
      g,
      { weight: name, gradient, firstMoment, secondMoment, decays },
      { ...scaledRates(g, scalars[group], rate), factor },
      optimizer,
    );
    g.output(next(updated.weight, name), 'float32', value.dims, NAMES.next(name));
    g.output(next(updated.firstMoment, firstMoment), 'float32', value.dims, NAMES.next(firstMoment));
    g.output(next(updated.secondMoment, secondMoment), 'float32', value.dims, NAMES.next(secondMoment));
  }
}

/** Number of lookups in each table whose gradients are rows (kind `gradients`). */
export type TableLookups = ReadonlyMap<string, number>;

export interface TrainingGraph {
  readonly model: Model;
  /** Weights the loss depends on; the others are not updated. */
  readonly trained: readonly TrainableWeight[];
  readonly tables: TableLookups;
}

/** Appends the outputs of kind `gradients`. */
function appendGradients(g: GraphBuilder, gradients: ReadonlyMap<string, string>, { weights }: StepOptions): void {
  for (const { name, value } of weights) {
    const gradient = gradients.get(name);
    if (gradient !== undefined) g.output(gradient, 'float32', value.dims, NAMES.gradient(name));
  }
}

/** Renames values that reach an output through an Identity alone to the output's name, which saves the engine a copy. */
function nameOutputs(graph: Graph): Graph {
  const made = new Set(graph.nodes.flatMap((n) => n.outputs));
  const outputs = new Set(graph.outputs.map((o) => o.name));
  const rename = new Map<string, string>();
  const removed = new Set<Node>();
  const read = consumers(graph);
  for (const node of graph.nodes) {
    const [from, to] = [node.inputs[0]!, node.outputs[0]!];
    const free = made.has(from) && !outputs.has(from) && !rename.has(from) && !read.has(to);
    if (node.op !== 'Identity' || !outputs.has(to) || !free) continue;
    rename.set(from, to);
    removed.add(node);
  }
  const nodes = graph.nodes
    .filter((n) => !removed.has(n))
    .map((n) => freezeNode({ ...renameReads(n, rename), outputs: n.outputs.map((o) => rename.get(o) ?? o) }));
  return freezeGraph({ ...graph, nodes });
}

/** The forward graph with weights as inputs and the products in their precision. */
function forwardBuilder(encoder: Model, { weights, fixed = [], precision = 'fp32' }: StepOptions): GraphBuilder {
  const graph = precision === 'fp32' ? fuseBias(encoder.graph) : halfProducts(encoder).graph;
  const names = [...weights, ...fixed].map((w) => w.name);
  return GraphBuilder.from(weightsToInputs(graph, names), { outputs: false });
}

type Tables = ReturnType<typeof findTables>;

/** Appends ids and gradients of the rows read of each table. Returns the number of lookups that have a gradient. */
function appendTableRows(
  g: GraphBuilder,
  tables: Tables,
  gradients: ReadonlyMap<string, string>,
  shapes: Shapes,
): TableLookups {
  const counts = new Map<string, number>();
  for (const [table, all] of tables) {
    const lookups = all.filter(({ rows }) => gradients.has(rows));
    counts.set(table, lookups.length);
    for (const [n, { ids, rows }] of lookups.entries()) {
      g.output(ids, shapes.get(ids)!.dtype, undefined, NAMES.ids(table, n));
      g.output(gradients.get(rows)!, 'float32', undefined, NAMES.rows(table, n));
    }
  }
  return counts;
}

/**
 * Builds the graph of a training step.
 * @param model canonical model (`prepare`) whose value `logits` is [rows, 1].
 * @throws WinnowError `unsupported_op` where no gradient rule is known.
 */
export async function buildStep(model: Model, logits: string, options: StepOptions): Promise<TrainingGraph> {
  const { kind, weights, precision = 'fp32' } = options;
  const { encoder, inverses } = await packed({ ...model, graph: fuseScale(model.graph) }, options, options.probe);
  const opset = Math.max(OPSET, encoder.opsets[''] ?? OPSET);
  const forward = forwardBuilder(encoder, options);
  const loss = appendLoss(forward, logits, options.objective);
  const tables: Tables = kind === 'gradients' ? findTables(forward.build(), weights) : new Map();
  const shapes = await probe(forward.build(), opset, encoder.graph.inputs, options);
  const scale = precision === 'fp16' ? forward.input(NAMES.lossScale, 'float32', []) : undefined;
  const rows = [...tables.values()].flat().map((lookup) => lookup.rows);
  const dense = weights.map((w) => w.name).filter((name) => !tables.has(name));
  const backward = differentiate(forward.build(), {
    of: loss,
    wrt: [...rows, ...dense],
    shapes,
    inverses,
    ...(scale !== undefined && { upstream: scale }),
  });
  const g = GraphBuilder.from(backward.graph);
  const lookups = appendTableRows(g, tables, backward.gradients, shapes);
  const gradients = stepGradients(g, backward.gradients, options);
  if (kind === 'gradients') appendGradients(g, gradients, options);
  else if (kind === 'accumulate')
    for (const [name, sum] of gradients) g.output(sum, 'float32', undefined, NAMES.next(NAMES.accumulated(name)));
  else appendUpdate(g, gradients, options);
  return {
    model: modelOf(retype(nameOutputs(g.build()), precision), opset),
    trained: weights.filter(({ name }) => gradients.has(name) || (lookups.get(name) ?? 0) > 0),
    tables: lookups,
  };
}

/** Builds the objective alone, with scores as input, to compute the loss of a batch if all scores were equal. */
export function buildLoss(objective: Objective): Model {
  const g = new GraphBuilder('loss');
  const scores = g.input(NAMES.scores, 'float32', ['queries', 'passages']);
  g.output(objective.build(g, { scores, ...listInputs(g) }), 'float32', [], NAMES.loss);
  return modelOf(g.build());
}
