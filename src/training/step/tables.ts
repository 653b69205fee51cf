import { attrNumber, consumers, type Graph } from '../../onnx/graph.ts';
import { squareSum } from '../optimizers/adamw-kernel.ts';
import type { TrainableWeight } from './trainable.ts';

/*
 * The gradient of an embedding table is zero but for the rows a batch reads. Where the optimizer runs outside of the engine, the graph gives
 * the gradients of the rows as they were read, [tokens, hidden], and they are added up here: a million additions instead of a table-sized
 * scatter, in the order of the tokens, so that the sum is the same whatever the threads.
 */

/** One reading of a table: names of the values that hold its ids and the rows read. */
interface Lookup {
  readonly ids: string;
  readonly rows: string;
}

/** Smaller tables are not worth it. */
const LEAST_ROWS = 256;

/** Weights that are read by `Gather` of whole rows and by nothing else, with their readings. */
export function findTables(
  graph: Graph,
  weights: readonly TrainableWeight[],
): ReadonlyMap<string, readonly [Lookup, ...Lookup[]]> {
  const read = consumers(graph);
  const outputs = new Set(graph.outputs.map((o) => o.name));
  const tables = new Map<string, readonly [Lookup, ...Lookup[]]>();
  for (const { name, value } of weights) {
    const readers = read.get(name) ?? [];
    const whole = readers.every(
      (n) => n.op === 'Gather' && n.inputs[0] === name && n.inputs[1] !== name && attrNumber(n, 'axis', 0) === 0,
    );
    const [first, ...more] = readers.map((n) => ({ ids: n.inputs[1]!, rows: n.outputs[0]! }));
    if (first && whole && value.dims.length === 2 && value.dims[0]! >= LEAST_ROWS && !outputs.has(name))
      tables.set(name, [first, ...more]);
  }
  return tables;
}

/** Gradients of a table's rows, of those rows alone that were read. */
interface RowSums {
  /** Adds gradients [ids.length, hidden] to the rows of `ids` (negative ones count from the end). */
  add(ids: ArrayLike<number | bigint>, gradients: Float32Array): void;
  /** Σ g² over all rows. */
  squares(): number;
  /** The sum of a row; undefined if it was not read. */
  row(id: number): Float32Array | undefined;
  clear(): void;
}

/** @param dims [rows, hidden] of the table. */
export function createRowSums([rows, hidden]: readonly [number, number]): RowSums {
  const slotOf = new Int32Array(rows).fill(-1);
  const sums: Float32Array[] = [];
  const used: number[] = [];
  const slot = (id: number): Float32Array => {
    if (slotOf[id] === -1) {
      slotOf[id] = used.length;
      used.push(id);
      if (sums.length < used.length) sums.push(new Float32Array(hidden));
      else sums[used.length - 1]!.fill(0);
    }
    return sums[slotOf[id]!]!;
  };
  return {
    add(ids, gradients) {
      for (let t = 0; t < ids.length; t++) {
        const id = Number(ids[t]);
        const sum = slot(id < 0 ? id + rows : id);
        const from = t * hidden;
        for (let i = 0; i < hidden; i++) sum[i]! += gradients[from + i]!;
      }
    },
    squares: () => used.reduce((total, _, i) => total + squareSum(sums[i]!), 0),
    row: (id) => (slotOf[id] === -1 ? undefined : sums[slotOf[id]!]),
    clear() {
      for (const id of used) slotOf[id] = -1;
      used.length = 0;
    },
  };
}
