import { WinnowError } from '../../errors.ts';
import { tokenSum } from '../architectures/pooling.ts';
import { GraphBuilder } from '../builder.ts';
import { freezeGraph, type Graph, type Model, type Node, producers, reads } from '../graph.ts';
import { prune, topologicalSort, upstream } from '../order.ts';
import { prepare } from '../prepare.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { float32, sizeOf } from '../tensor.ts';

/*
 * The early score of a pair: an estimate of its score from the states of one value of the graph, such as those after the first layer, at a small
 * part of the cost. It reads how well the passage matches each token of the query (late interaction, Khattab and Zaharia 2020), and is linear in
 * features, so that it is fitted by least squares.
 */

/** How fast the weight of a passage token falls with its distance from a query token, in the soft count of matches. */
const SHARPNESS = 8;

/** Keeps the norm of an empty state above 0. */
const EPSILON = 1e-6;

/** Lowers the similarity of tokens outside the passage below that of any token in it. */
const OUTSIDE = 10;

/** What a state of an early score is computed from. */
interface EarlyScore {
  /** Name of the value whose states are read, [rows, tokens, width]. */
  readonly value: string;
  /** Weight of each feature. */
  readonly weights: Float32Array;
}

/** Values that input `input_ids` reaches without passing through `barrier`. Sizes alone do not count. */
function reachedFromIds(graph: Graph, barrier: string): ReadonlySet<string> {
  const found = new Set(['input_ids']);
  for (const node of graph.nodes)
    if (node.op !== 'Shape' && reads(node).some((name) => found.has(name)))
      for (const output of node.outputs) if (output !== barrier) found.add(output);
  return found;
}

/** Returns the values [rows, tokens, width] through which all that the outputs know of the token ids passes, in the order of the nodes. */
function stateValues(graph: Graph, shapes: Shapes): readonly string[] {
  const [rows, tokens] = shapes.get('input_ids')?.dims ?? [];
  const isState = (name: string) => {
    const { dtype, dims = [] } = shapes.get(name) ?? {};
    const isFloat = dtype === 'float32' || dtype === 'float16';
    if (!isFloat || dims.length !== 3 || dims[0] !== rows || dims[1] !== tokens || dims[2] === 1) return false;
    const reached = reachedFromIds(graph, name);
    return !graph.outputs.some((output) => reached.has(output.name));
  };
  return graph.nodes.flatMap(({ outputs }) => outputs.filter(isState));
}

/** The first opset in which reductions take their axes as an input. */
const NEWEST_FORM = 18;

/** Returns a model that nodes of a recent opset may be added to. Values keep their names. */
async function extensible(model: Model): Promise<Model> {
  if (model.functions.length > 0 || (model.opsets[''] ?? 0) < NEWEST_FORM) return (await prepare(model)).model;
  return { ...model, graph: topologicalSort(model.graph) };
}

/** Numbers in the matrices that the nodes multiply by; tables that are looked up do not count. */
function matrixSize(graph: Graph, nodes: Iterable<Node>): number {
  const names = new Set([...nodes].filter(({ op }) => op !== 'Gather').flatMap(({ inputs }) => inputs));
  const sizes = [...graph.initializers].map(([name, { dims }]) =>
    dims.length === 2 && names.has(name) ? sizeOf(dims) : 0,
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Where a graph may be cut for an early score. */
interface EarlyCut {
  readonly value: string;
  /** Part of the model's work that leads to the value. */
  readonly share: number;
}

/**
 * Returns the last value that an early score may read: all that the scores know of the token ids passes through it, and what leads to it is at
 * most `share` of the model's matrix products.
 * @throws WinnowError `invalid_graph` where no such value exists.
 */
export async function findCut(given: Model, share: number, where: string): Promise<EarlyCut> {
  const model = await extensible(given);
  const { graph } = model;
  const whole = matrixSize(graph, graph.nodes);
  const cuts = stateValues(graph, await probeShapes(model)).map((value) => {
    const needed = upstream(graph, [value]);
    const nodes = graph.nodes.filter(({ outputs }) => outputs.some((output) => needed.has(output)));
    return { value, share: whole > 0 ? matrixSize(graph, nodes) / whole : 0 };
  });
  const cut = cuts.findLast((one) => one.share <= share);
  if (cut) return cut;
  throw new WinnowError('invalid_graph', {
    where,
    expected: 'a value [rows, tokens, width] that all paths from input_ids pass through',
    got: cuts[0] ? `the first one after ${(100 * cuts[0].share).toFixed(0)} % of the model` : 'none',
  });
}

/** Appends the masks of both texts as float32 [rows, tokens, 1]: special tokens belong to the text before them. */
function masks(g: GraphBuilder, attention: string, types: string) {
  const isText = g.unsqueeze(g.cast(attention, 'float32'), [2]);
  const isPassage = g.mul(g.unsqueeze(g.cast(types, 'float32'), [2]), isText);
  return { isQuery: g.sub(isText, isPassage), isPassage };
}

/** Appends the mean of the states that a mask takes. */
function meanOf(g: GraphBuilder, states: string, mask: string): string {
  const count = g.add(g.reduceSum(mask, [1], false), g.scalar(EPSILON));
  return g.div(tokenSum(g, g.mul(states, mask)), count);
}

/** Appends Σ over query tokens of how well each is matched times its state. */
const weighted = (g: GraphBuilder, match: string, isQuery: string, states: string): string =>
  g.reduceSum(g.mul(g.mul(match, isQuery), states), [1], false);

/** Appends the features of each row, [rows, 4 × width]. */
function features(g: GraphBuilder, states: string, { isQuery, isPassage }: ReturnType<typeof masks>): string {
  const norm = g.sqrt(g.add(g.reduceSum(g.mul(states, states), [2]), g.scalar(EPSILON)));
  const unit = g.div(states, norm);
  const outside = g.mul(g.sub(isPassage, g.scalar(1)), g.scalar(OUTSIDE));
  const similarity = g.add(g.matmul(unit, g.transpose(unit, [0, 2, 1])), g.transpose(outside, [0, 2, 1]));
  const best = g.reduceMax(similarity, [2]);
  const closeness = g.exp(g.mul(g.sub(similarity, g.scalar(1)), g.scalar(SHARPNESS)));
  const matches = g.log(g.add(g.reduceSum(closeness, [2]), g.scalar(1)));
  const passage = meanOf(g, states, isPassage);
  return g.concat(
    [
      weighted(g, best, isQuery, states),
      weighted(g, matches, isQuery, states),
      passage,
      g.mul(passage, meanOf(g, states, isQuery)),
    ],
    1,
  );
}

/** Names an input, adding it where the graph has none: a host fills it by name. */
function inputOf(g: GraphBuilder, graph: Graph, name: string): string {
  const dtype = graph.inputs.find((input) => input.name === 'input_ids')?.dtype ?? 'int64';
  return graph.inputs.some((input) => input.name === name) ? name : g.input(name, dtype, ['batch', 'length']);
}

/** Replaces the outputs of a model by one computed from the features; inputs that nothing reads are removed. */
async function withOutput(
  given: Model,
  value: string,
  name: string,
  make: (g: GraphBuilder, features: string) => string,
): Promise<Model> {
  const model = await extensible(given);
  const { graph: whole } = model;
  if (!producers(whole).has(value))
    throw new WinnowError('invalid_graph', { where: 'early score', expected: `a value ${value}`, got: 'none' });
  const g = GraphBuilder.from(whole, { outputs: false });
  const texts = masks(g, inputOf(g, whole, 'attention_mask'), inputOf(g, whole, 'token_type_ids'));
  g.output(make(g, features(g, g.cast(value, 'float32'), texts)), 'float32', ['batch', null], name);
  const graph = prune(g.build());
  const read = new Set(graph.nodes.flatMap(reads));
  const inputs = graph.inputs.filter((input) => read.has(input.name));
  return Object.freeze({ ...model, graph: freezeGraph({ ...graph, inputs }) });
}

/** Returns the part of a model up to a value, with the features of the early score as its only output. */
export const earlyFeatures = (model: Model, value: string): Promise<Model> =>
  withOutput(model, value, 'early_features', (_, found) => found);

/**
 * Returns the part of a model that an early score needs, with the score [rows, 1] as its only output.
 * @throws WinnowError `invalid_graph` where the model lacks the value; the engine refuses weights of another width.
 */
export const earlyScorer = (model: Model, { value, weights }: EarlyScore): Promise<Model> =>
  withOutput(model, value, 'early_score', (g, found) =>
    g.matmul(found, g.constant(float32([weights.length, 1], weights))),
  );
