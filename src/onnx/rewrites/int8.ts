import { GraphBuilder, MICROSOFT } from '../builder.ts';
import type { Model, Node } from '../graph.ts';
import { prune } from '../order.ts';
import { float32, float32View, tensor, tensorOf } from '../tensor.ts';
import { type EmbeddingTable, findTables, type LinearGroup, rowMaxima } from './linears.ts';

/*
 * Static int8 quantization. Scales come from calibration and not from the batch, so a row's score does not depend on co-batched rows.
 * Channels are smoothed first (SmoothQuant, Xiao et al., ICML 2023): x·W = (x/s)·(s·W) moves outliers of x into W.
 */

/** How one group of layers is quantized, from calibration. */
export interface GroupQuantization {
  readonly group: LinearGroup;
  /** s, one divisor per channel of x. */
  readonly smoothing: Float32Array;
  /** Step of the quantized activation, x/s = step · (q − zeroPoint). */
  readonly step: number;
  /** The integer that stands for 0: 128, or less for states that are hardly ever negative. */
  readonly zeroPoint: number;
  /** Mean error of each column of a layer's output, by weight name; it is added back. */
  readonly corrections: ReadonlyMap<string, Float32Array>;
}

/** Weights are −127 … 127: symmetric. */
const WEIGHT_LEVELS = 127;

interface QuantizedMatrix {
  /** [in, out] */
  readonly values: Int8Array<ArrayBuffer>;
  /** One per column. */
  readonly scales: Float32Array<ArrayBuffer>;
}

/**
 * Largest sum of two weights of the same sign in rows 2k and 2k + 1 of a column. Processors without VNNI (AVX2, the first AVX-512) add the
 * products of such a pair in 16 bits and saturate. With activations up to 255, a sum of 128 gives at most 32,640, which fits, so scores are
 * the same on every processor. One level is reserved for rounding.
 */
const PAIR_LEVELS = 127;

/** Quantizes s·W to int8 with one scale per column, so that no weight exceeds ±127 and no pair exceeds `PAIR_LEVELS`. */
export function quantizeMatrix(
  matrix: Float32Array,
  rows: number,
  columns: number,
  smoothing: Float32Array,
): QuantizedMatrix {
  const scales = new Float32Array(columns);
  const smoothed = (i: number, j: number): number => (i < rows ? matrix[i * columns + j]! * smoothing[i]! : 0);
  for (let i = 0; i < rows; i += 2)
    for (let j = 0; j < columns; j++) {
      const upper = smoothed(i, j);
      const lower = smoothed(i + 1, j);
      const pair = upper * lower > 0 ? Math.abs(upper + lower) : 0;
      const single = Math.max(Math.abs(upper), Math.abs(lower));
      scales[j] = Math.max(scales[j]!, single / WEIGHT_LEVELS, pair / PAIR_LEVELS);
    }
  for (let j = 0; j < columns; j++) if (scales[j] === 0) scales[j] = 1;
  const values = new Int8Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      values[i * columns + j] = Math.round((matrix[i * columns + j]! * smoothing[i]!) / scales[j]!);
  return { values, scales };
}

/** Appends a group in int8: Mul by 1/s, QuantizeLinear, then one integer product per layer. */
function appendGroup(g: GraphBuilder, { group, smoothing, step, zeroPoint, corrections }: GroupQuantization): void {
  const inverse = g.constant(
    float32(
      [smoothing.length],
      smoothing.map((s) => 1 / s),
    ),
    'smoothing',
  );
  const scale = g.constant(tensor('float32', [], [step]), 'step');
  const zero = g.constant(tensor('uint8', [], [zeroPoint]), 'zero_point');
  const quantized = g.op('QuantizeLinear', [g.mul(group.input, inverse), scale, zero]);
  for (const { node, weight, matrix, bias } of group.layers) {
    const [rows, columns] = matrix.dims as [number, number];
    const { values, scales } = quantizeMatrix(float32View(matrix), rows, columns, smoothing);
    const integers = g.constant(tensorOf('int8', [rows, columns], values), `${weight}_int8`);
    const columnScales = g.constant(float32([columns], scales), 'scales');
    const correction = corrections.get(weight) ?? new Float32Array(columns);
    const offset = g.constant(float32([columns], correction), 'correction');
    const product = g.op(
      'MatMulIntegerToFloat',
      [quantized, integers, scale, columnScales, zero, '', offset],
      {},
      { domain: MICROSOFT },
    );
    const sum = bias === undefined ? product : g.add(product, bias);
    g.append({
      op: 'Identity',
      domain: '',
      name: `${node.name}_int8`,
      inputs: [sum],
      outputs: [node.outputs[0]!],
      attrs: {},
    });
  }
}

function appendTable(g: GraphBuilder, { name, value, gathers }: EmbeddingTable): void {
  const [rows, columns] = value.dims as [number, number];
  const source = float32View(value);
  const scales = rowMaxima(value).map((m) => (m === 0 ? 1 : m / WEIGHT_LEVELS));
  const integers = new Int8Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) integers[i * columns + j] = Math.round(source[i * columns + j]! / scales[i]!);
  const table = g.constant(tensorOf('int8', [rows, columns], integers), `${name}_int8`);
  const rowScales = g.constant(float32([rows, 1], scales), 'row_scales');
  for (const node of gathers) {
    const found = g.cast(g.gather(table, node.inputs[1]!), 'float32');
    g.append({
      op: 'Mul',
      domain: '',
      name: `${node.name}_int8`,
      inputs: [found, g.gather(rowScales, node.inputs[1]!)],
      outputs: [node.outputs[0]!],
      attrs: {},
    });
  }
}

/** Rows from which a table is quantized: word embeddings, not positions or types. */
const TABLE_ROWS = 4096;

/**
 * Rewrites the given groups and, unless `tables` is false, the large embedding tables to int8. Values keep their names.
 * @param model canonical float32 model (`prepare`).
 */
export function quantizeModel(
  model: Model,
  groups: readonly GroupQuantization[],
  options: { readonly tables?: boolean } = {},
): Model {
  const tables = options.tables === false ? [] : findTables(model.graph, TABLE_ROWS);
  const byFirst = new Map<Node, () => void>();
  const replaced = new Set<Node>();
  const g = GraphBuilder.rewriting(model.graph);
  for (const quantization of groups) {
    byFirst.set(quantization.group.layers[0]!.node, () => appendGroup(g, quantization));
    for (const { node } of quantization.group.layers) replaced.add(node);
  }
  for (const table of tables) {
    byFirst.set(table.gathers[0]!, () => appendTable(g, table));
    for (const node of table.gathers) replaced.add(node);
  }
  for (const node of model.graph.nodes) {
    byFirst.get(node)?.();
    if (!replaced.has(node)) g.append(node);
  }
  return { ...model, opsets: { ...model.opsets, [MICROSOFT]: 1 }, graph: prune(g.build()) };
}
