import { attrNumber, type Graph, producers } from '../../onnx/graph.ts';
import { frontAxis, tensor } from '../../onnx/tensor.ts';
import type { Rule, RuleContext } from '../rule.ts';

/*
 * A gather may read an element many times, so its gradients are summed. The engine's scatter with `reduction = add` loses additions with
 * several threads (ScatterND) or is serial (ScatterElements); matrix products with one-hot rows have neither fault.
 */

/** Most rows of a table whose gradient is one product with one-hot rows; larger ones are summed segment by segment. */
const ONE_HOT_ROWS = 1024;
/** Tokens of a segment's product. */
const CHUNK = 128;

/** y[p, i…, q] = x[p, indexᵢ, q]: dx[p, v, q] = Σᵢ [indexᵢ = v]·dy[p, i, q] */
export const gather: Rule = (c) => {
  const [x, indices] = c.node.inputs as [string, string];
  const rank = c.rank(x);
  const axis = frontAxis(attrNumber(c.node, 'axis', 0), rank);
  const inverse = c.inverse(indices);
  if (inverse !== undefined && axis === 0) {
    const rows = c.g.gather(c.dy, inverse.indices);
    return [inverse.factor === undefined ? rows : c.g.mul(rows, inverse.factor)];
  }
  const size = c.sizeOf(x, axis);
  if (axis === 0 && rank === 2 && c.dims(x)[0]! > ONE_HOT_ROWS) return [segmentSum(c, x, indices)];
  return [gatherRows(c, { dy: c.dy, indices, indexRank: c.rank(indices), axis, rank, size })];
};

interface GatherRows {
  readonly dy: string;
  readonly indices: string;
  readonly indexRank: number;
  readonly axis: number;
  /** Rank of what was gathered from. */
  readonly rank: number;
  /** Size of its gathered axis: an int64 vector of one element. */
  readonly size: string;
}

/** The sum above as one-hotᵀ [v, i] times dy [p, i, q]. */
export function gatherRows(c: RuleContext, { dy, indices, indexRank, axis, rank, size }: GatherRows): string {
  const { g } = c;
  const dtype = c.dtype(c.node.outputs[0]!);
  const flat = g.reshape(indices, [-1]);
  const hot = c.once(`one-hot ${indices} ${size} ${dtype}`, () =>
    g.op('OneHot', [flat, size, g.constant(zeroOne(dtype))], { axis: -1 }),
  );
  const shape = g.shape(dy);
  const end = Number.MAX_SAFE_INTEGER;
  const after = axis + indexRank;
  const rest = rank - axis - 1;
  // [p, i, q] with p and q flattened: the count of i is known from the one-hot rows, p from the leading axes.
  const lead = axis === 0 ? g.ints([1]) : g.op('ReduceProd', [g.slice(shape, [0], [axis], [0])], { keepdims: 1 });
  const count = g.shape(flat);
  const three = g.reshape(dy, g.concat([lead, count, g.ints([-1])], 0));
  const two = axis === 0 ? g.reshape(dy, g.concat([count, g.ints([-1])], 0)) : three;
  const product = c.matmul(hot, two, { transA: true, rankA: 2, rankB: axis === 0 ? 2 : 3 });
  const parts = [size];
  if (axis > 0) parts.unshift(g.slice(shape, [0], [axis], [0]));
  if (rest > 0) parts.push(g.slice(shape, [after], [end], [0]));
  return g.reshape(product, g.concat(parts, 0));
}

/**
 * Gradient of a large table [V, H]: tokens are sorted by id and cut into chunks of 128. Within a chunk the ids are consecutive in the list
 * of unique ids, so one product with a 128 × 128 one-hot matrix sums each id. An id that began in an earlier chunk is row 0 of its chunk;
 * one more small product adds those rows. Every row of the result is written once, so threads do not race.
 */
function segmentSum(c: RuleContext, table: string, indices: string): string {
  const { g } = c;
  const dtype = c.dtype(table);
  const rows = g.reshape(c.dy, g.concat([g.ints([-1]), c.sizeOf(table, 1)], 0));
  const wrapped = g.where(g.less(indices, g.scalar(0, 'int64')), g.add(indices, c.sizeOf(table, 0)), indices);
  const [ids, , inverse, counts] = g.ops('Unique', [g.reshape(wrapped, [-1])], { sorted: 1 }, 4) as [
    string,
    string,
    string,
    string,
  ];
  const tokens = g.shape(inverse);
  const [rank, order] = g.ops('TopK', [inverse, tokens], { largest: 0, sorted: 1, axis: 0 }, 2) as [string, string];
  const short = g.op('Mod', [g.neg(tokens), g.ints([CHUNK])]);
  const pads = g.concat([g.ints([0]), short], 0);
  const places = g.reshape(g.op('Pad', [rank, pads, g.scalar(-1, 'int64')]), [-1, CHUNK]);
  const none = g.ints([0]);
  const rowPads = g.concat([none, none, short, none], 0);
  const sorted = g.op('Pad', [g.gather(rows, order), rowPads, c.num(0, table)]);
  const chunks = g.reshape(sorted, g.concat([g.ints([-1, CHUNK]), c.sizeOf(table, 1)], 0));
  const first = g.slice(places, [0], [1], [1]);
  // Padding is at −1 − first ≤ −1, mapped to CHUNK, a column that exists in no table of 128: OneHot leaves it all zero.
  const local = g.where(g.less(places, g.scalar(0, 'int64')), g.scalar(CHUNK, 'int64'), g.sub(places, first));
  const hot = g.op('OneHot', [local, g.ints([CHUNK]), g.constant(zeroOne(dtype))], { axis: -1 });
  const sums = c.matmul(hot, chunks, { transA: true, rankA: 3, rankB: 3 });
  const start = g.op('CumSum', [counts, g.scalar(0, 'int64')], { exclusive: 1 });
  const chunkOf = g.div(start, g.ints([CHUNK]));
  const unique = g.op('Range', [g.scalar(0, 'int64'), g.squeeze(g.shape(ids), [0]), g.scalar(1, 'int64')]);
  const firstFlat = g.reshape(first, [-1]);
  const within = g.sub(unique, g.gather(firstFlat, chunkOf));
  const flatSums = g.reshape(sums, g.concat([g.ints([-1]), c.sizeOf(table, 1)], 0));
  const began = g.gather(flatSums, g.add(g.mul(chunkOf, g.ints([CHUNK])), within));
  const continued = continuedRows(c, { sums, firstFlat, unique, chunkOf, dtype });
  const zeros = g.expand(c.num(0, table), c.shapeOf(table));
  return g.op('ScatterND', [zeros, g.unsqueeze(ids, [1]), g.add(began, continued)]);
}

/** Sums row 0 of each chunk that continues an id of an earlier one to that id's row. */
function continuedRows(
  c: RuleContext,
  v: { sums: string; firstFlat: string; unique: string; chunkOf: string; dtype: ReturnType<RuleContext['dtype']> },
): string {
  const { g } = c;
  const heads = g.squeeze(g.slice(v.sums, [0], [1], [1]), [1]);
  const number = g.op('Range', [g.scalar(0, 'int64'), g.squeeze(g.shape(v.firstFlat), [0]), g.scalar(1, 'int64')]);
  const same = g.equal(g.unsqueeze(v.unique, [1]), g.unsqueeze(v.firstFlat, [0]));
  const later = g.less(g.unsqueeze(v.chunkOf, [1]), g.unsqueeze(number, [0]));
  return c.matmul(g.cast(g.op('And', [same, later]), v.dtype), heads, { rankA: 2, rankB: 2 });
}

/**
 * y[b…, i, j] = x[b…, i, index[b…, i, j]] (last axis): dx[b…, i, r] = Σⱼ dy[b…, i, j]·[index = r].
 * Where the index does not depend on b, dx[:, i, :] = dy[:, i, :] · one-hot[i], one product over i; otherwise the engine's serial scatter.
 */
export const gatherElements: Rule = (c) => {
  const [x, indices] = c.node.inputs as [string, string];
  const rank = c.rank(x);
  const axis = frontAxis(attrNumber(c.node, 'axis', 0), rank);
  const shared = axis === rank - 1 && rank >= 2 ? sharedIndex(c, indices) : undefined;
  if (shared === undefined) {
    const zeros = c.g.expand(c.num(0, x), c.shapeOf(x));
    return [c.g.op('ScatterElements', [zeros, indices, c.dy], { axis, reduction: 'add' })];
  }
  const { g } = c;
  const hot = c.once(`one-hot last ${shared} ${c.dtype(x)}`, () =>
    // [i, j, r]
    g.op('OneHot', [shared, c.sizeOf(x, axis), g.constant(zeroOne(c.dtype(x)))], { axis: -1 }),
  );
  const end = Number.MAX_SAFE_INTEGER;
  const batched = g.reshape(c.dy, g.concat([g.ints([-1]), g.slice(g.shape(c.dy), [-2], [end], [0])], 0));
  const product = c.matmul(g.transpose(batched, [1, 0, 2]), hot, { rankA: 3, rankB: 3 });
  return [g.reshape(g.transpose(product, [1, 0, 2]), c.shapeOf(x))];
};

const PASSES: ReadonlySet<string> = new Set(['Expand', 'Tile']);

/** Returns the index as [i, j] if an Expand or Tile broadcasts it over all leading axes. */
function sharedIndex(c: RuleContext, indices: string): string | undefined {
  const rank = c.rank(indices);
  if (rank === 2) return indices;
  const source = beforeBroadcast(c.forward, indices);
  if (source === undefined) return undefined;
  const dims = c.dims(source);
  const full = c.dims(indices);
  const ownsLastTwo = dims.length >= 2 && dims.at(-1) === full.at(-1) && dims.at(-2) === full.at(-2);
  if (!ownsLastTwo || dims.slice(0, -2).some((d) => d !== 1)) return undefined;
  return c.once(`index ${source}`, () =>
    c.g.reshape(source, c.g.slice(c.g.shape(source), [-2], [Number.MAX_SAFE_INTEGER], [0])),
  );
}

function beforeBroadcast(graph: Graph, value: string): string | undefined {
  const node = producers(graph).get(value);
  return node && PASSES.has(node.op) && node.domain === '' ? node.inputs[0] : undefined;
}

const zeroOne = (dtype: ReturnType<RuleContext['dtype']>) => tensor(dtype, [2], [0, 1]);
