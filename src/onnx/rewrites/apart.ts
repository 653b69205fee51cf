import { WinnowError } from '../../errors.ts';
import { GraphBuilder } from '../builder.ts';
import { freezeNode, type Graph, type Model, type Node, renameReads } from '../graph.ts';
import { topologicalSort } from '../order.ts';
import { type Prepared, prepare } from '../prepare.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { float32 } from '../tensor.ts';

/*
 * Reads the two texts of a pair apart in one sequence, as a sentence encoder reads them alone: [CLS] [CLS] query [SEP] passage [SEP], where the
 * second text has a first token, positions from 0 and token types of its own. A gate in every head lets the texts look at each other: with
 * P = softmax(scores) of the whole sequence, attention is P ⊙ M divided by its sum, M = 1 within a text and g between the two. g = 0 is
 * the encoder of single texts exactly, and the derivative by g is not 0, so that training opens the gates, at the encoder's
 * learning rate: a faster one loses the start.
 */

/** Inputs of the encoder after the rewrite, one token longer than the model's own, by value name. */
interface Apart {
  readonly model: Model;
  /** Replacements of `attention_mask` and `token_type_ids` for what reads the states. */
  readonly mask: string;
  readonly sides: string;
}

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'] as const;

function refuse(expected: string, got: string): never {
  throw new WinnowError('invalid_graph', { where: 'texts read apart', expected, got });
}

/** Finds the lookup of positions: a Gather from the table of absolute positions, [1 or batch, length, hidden]. */
function positionLookup({ model, weights }: Prepared, shapes: Shapes): Node {
  const tables = new Set(weights.filter((w) => /position_embeddings/.test(w.name)).map((w) => w.tensor));
  const found = model.graph.nodes.filter((n) => n.op === 'Gather' && tables.has(n.inputs[0]!));
  const [lookup] = found;
  const rank = lookup && shapes.get(lookup.outputs[0]!)?.dims.length;
  if (found.length !== 1 || rank !== 3)
    refuse(
      'an encoder with one lookup of absolute positions (BERT, ELECTRA)',
      `${found.length} of rank ${rank ?? '–'}`,
    );
  return lookup!;
}

interface Sides {
  readonly renamed: ReadonlyMap<string, string>;
  readonly mask: string;
  readonly sides: string;
  readonly positions: string;
}

/** Appends the longer inputs, int64 [batch, length + 1]. */
function appendSides(g: GraphBuilder): Sides {
  const one = g.scalar(1, 'int64');
  const firstOf = (x: string): string => g.slice(x, [0], [1], [1]);
  const [ids, mask, types] = INPUTS;
  const ones = firstOf(mask);
  const zeros = g.sub(ones, ones);
  const sides = g.concat([ones, types], 1);
  const longMask = g.concat([ones, mask], 1);
  // Columns count the first text's positions; the second starts again at 1, behind its own first token.
  const length = g.squeeze(g.slice(g.shape(ids), [1], [2], [0]), [0]);
  const columns = g.unsqueeze(g.op('Range', [g.scalar(0, 'int64'), length, one]), [0]);
  const start = g.reduceSum(g.mul(mask, g.sub(one, types)), [1]);
  const own = g.add(columns, g.mul(types, g.sub(one, start)));
  return {
    renamed: new Map([
      [ids, g.concat([firstOf(ids), ids], 1)],
      [mask, longMask],
      [types, g.sub(sides, sides)],
    ]),
    mask: longMask,
    sides,
    positions: g.concat([zeros, own], 1),
  };
}

/** Appends 1 within a text and 0 between two, [batch, 1, length, length], and the contrary. */
function appendBlocks(g: GraphBuilder, sides: string): readonly [string, string] {
  const s = g.cast(sides, 'float32');
  const between = g.unsqueeze(g.op('Abs', [g.sub(g.unsqueeze(s, [2]), g.unsqueeze(s, [1]))]), [1]);
  return [g.sub(g.scalar(1), between), between];
}

function isAttention(node: Node, shapes: Shapes): boolean {
  const dims = shapes.get(node.outputs[0]!)?.dims;
  return node.op === 'Softmax' && dims?.length === 4 && dims[2] === dims[3];
}

function rewrite(graph: Graph, lookup: Node, shapes: Shapes): Omit<Apart, 'model'> & { readonly graph: Graph } {
  const g = GraphBuilder.rewriting(graph);
  const { renamed, mask, sides, positions } = appendSides(g);
  const [within, between] = appendBlocks(g, sides);
  let layer = 0;
  for (const node of graph.nodes) {
    const [y] = node.outputs as readonly [string];
    if (node === lookup) {
      g.append(freezeNode({ ...node, inputs: [node.inputs[0]!, positions] }));
    } else if (isAttention(node, shapes)) {
      const joint = g.unique(`${y}.joint`);
      g.append(freezeNode({ ...renameReads(node, renamed), outputs: [joint] }));
      const heads = shapes.get(y)!.dims[1]!;
      const gate = g.initializer(`texts.gate.${layer++}`, float32([heads, 1, 1], new Float32Array(heads)));
      const open = g.mul(joint, g.add(within, g.mul(between, gate)));
      const sum = g.op('Max', [g.reduceSum(open, [-1]), g.scalar(1e-12)]);
      const name = g.unique(`${y}.apart`);
      g.append(freezeNode({ op: 'Div', domain: '', name, inputs: [open, sum], outputs: [y], attrs: {} }));
    } else g.append(renameReads(node, renamed));
  }
  if (layer === 0) refuse('attention as softmax over [batch, heads, length, length]', 'no such node');
  return { graph: topologicalSort(g.build()), mask, sides };
}

/**
 * Rewrites an encoder of single texts so that it reads the two texts of a pair apart, with closed gates. Its states are [batch, length + 1,
 * hidden].
 * @throws WinnowError `invalid_graph` for encoders without token types or absolute positions.
 */
export async function readApart(encoder: Model): Promise<Apart> {
  const missing = INPUTS.filter((name) => !encoder.graph.inputs.some((i) => i.name === name));
  if (missing.length > 0) refuse(`inputs ${INPUTS.join(', ')}`, `none named ${missing.join(', ')}`);
  const prepared = await prepare(encoder);
  const shapes = await probeShapes(prepared.model);
  const { graph, mask, sides } = rewrite(prepared.model.graph, positionLookup(prepared, shapes), shapes);
  return { model: { ...prepared.model, graph }, mask, sides };
}
