import { attrNumber, consumers, type Graph } from '../../onnx/graph.ts';
import { squareSum } from '../optimizers/adamw-kernel.ts';
import type { TrainableWeight } from './trainable.ts';

/*
 * The gradient of an embedding table is zero except for the rows a batch reads. With the optimizer on the host, the graph returns the gradients
 * of the rows as they were read, [tokens, hidden], and they are summed here: a million additions instead of a scatter into a whole table.
 * The order is that of the tokens, so the sum does not depend on the number of threads.
 */

/** One lookup in a table: names of the values that hold its ids and the rows read. */
interface TableLookup {
  readonly ids: string;
  readonly rows: string;
}

/** Smaller tables get a dense gradient. */
const LEAST_ROWS = 256;

/** Finds the weights that only `Gather` of whole rows reads, with their lookups. */
export function findTables(
  graph: Graph,
  weights: readonly TrainableWeight[],
): ReadonlyMap<string, readonly [TableLookup, ...TableLookup[]]> {
  const read = consumers(graph);
  const outputs = new Set(graph.outputs.map((o) => o.name));
  const tables = new Map<string, readonly [TableLookup, ...TableLookup[]]>();
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

/** Sums of gradients of the table rows that were read. */
interface RowSums {
  /** Adds gradients [ids.length, hidden] to the rows of `ids` (negative ones count from the end). */
  add(ids: ArrayLike<number | bigint>, gradients: Float32Array): void;
  /** Returns Σ g² over all rows. */
  squares(): number;
  /** Returns the sum of a row; undefined if it was not read. */
  row(id: number): Float32Array | undefined;
  clear(): void;
}

/** Creates sums for a table of [rows, hidden]. */
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
