import { attrNumber, consumers, type Graph, type Node } from '../graph.ts';
import { float32View, type Tensor, transposeTensor } from '../tensor.ts';

/** A linear layer x·W (+ b) whose W is an initializer. */
export interface LinearLayer {
  readonly node: Node;
  /** Initializer that holds W. */
  readonly weight: string;
  /** W as [in, out], whatever the layout in the file. */
  readonly matrix: Tensor;
  /** Bias inside the node (Gemm), if any. */
  readonly bias: string | undefined;
}

/** Layers that read the same value, which is smoothed and quantized once for all of them. */
export interface LinearGroup {
  readonly input: string;
  readonly layers: readonly LinearLayer[];
}

function linearOf(graph: Graph, node: Node): LinearLayer | undefined {
  const [, weight, bias] = node.inputs;
  const value = weight === undefined ? undefined : graph.initializers.get(weight);
  if (value?.dtype !== 'float32' || value.dims.length !== 2) return undefined;
  if (node.op === 'MatMul' && node.domain === '') return { node, weight: weight!, matrix: value, bias: undefined };
  const plain =
    attrNumber(node, 'alpha', 1) === 1 && attrNumber(node, 'beta', 1) === 1 && attrNumber(node, 'transA', 0) === 0;
  if (node.op !== 'Gemm' || !plain) return undefined;
  const matrix = attrNumber(node, 'transB', 0) === 1 ? transposeTensor(value) : value;
  return { node, weight: weight!, matrix, bias: bias || undefined };
}

/** Finds all linear layers of a graph, grouped by the value they read, in the graph's order. */
export function findLinears(graph: Graph): readonly LinearGroup[] {
  const groups = new Map<string, LinearLayer[]>();
  for (const node of graph.nodes) {
    const layer = linearOf(graph, node);
    if (!layer) continue;
    const input = node.inputs[0]!;
    const known = groups.get(input);
    if (known) known.push(layer);
    else groups.set(input, [layer]);
  }
  return [...groups].map(([input, layers]) => ({ input, layers }));
}

/** An embedding table that only lookups read. */
export interface EmbeddingTable {
  readonly name: string;
  readonly value: Tensor;
  readonly gathers: readonly Node[];
}

/** Finds the tables of at least `rows` rows that only `Gather` along axis 0 reads. */
export function findTables(graph: Graph, rows: number): readonly EmbeddingTable[] {
  const read = consumers(graph);
  return [...graph.initializers].flatMap(([name, value]) => {
    const readers = read.get(name) ?? [];
    const looked = readers.every(
      (n) => n.op === 'Gather' && n.inputs[0] === name && n.inputs[1] !== name && attrNumber(n, 'axis', 0) === 0,
    );
    const fits = value.dtype === 'float32' && value.dims.length === 2 && value.dims[0]! >= rows;
    return fits && looked && readers.length > 0 ? [{ name, value, gathers: readers }] : [];
  });
}

/** Returns the largest of values that are not negative; 0 for none. */
export const largest = (values: Float32Array): number => values.reduce((most, x) => Math.max(most, x), 0);

/** Returns the largest magnitude in each row of a matrix. */
export function rowMaxima(matrix: Tensor): Float32Array {
  const [rows, columns] = matrix.dims as [number, number];
  const values = float32View(matrix);
  const maxima = new Float32Array(rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) maxima[i] = Math.max(maxima[i]!, Math.abs(values[i * columns + j]!));
  return maxima;
}
