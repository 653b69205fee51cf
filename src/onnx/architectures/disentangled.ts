import type { GraphBuilder } from '../builder.ts';
import { int64s } from '../tensor.ts';
import { linear, mix, norm, type Parts, parameter, rowLength, splitHeads } from './parts.ts';
import type { Sizes } from './post-norm.ts';
import type { Settings } from './settings.ts';

/*
 * DeBERTa's disentangled attention: to the product of query and key come those of the query with an embedding of the two tokens' distance
 * (c2p), and of the key with another one (p2c).
 *
 * The product with an embedding depends on the distance q − k, so that the scores of a query lie on a diagonal of [sequence, distances].
 * They are moved into rows by two copies of whole rows (`rowsOfDiagonals`). A gather of single elements, as exporters write it, is slower,
 * and multiplies with all 2 · span embeddings instead of the 2 · sequence that the row has.
 */

type Source = 'c2p' | 'p2c';

/** What config.json says of distances. */
interface Relative {
  readonly sources: readonly Source[];
  /** Whether distances have embeddings at all; the sources change the scale of the scores even without. */
  readonly embedded: boolean;
  /** Half of the rows of the table of embeddings. */
  readonly span: number;
  /** Rows of the table by distance, from −reach to reach; further ones share the last row. */
  readonly rows: readonly number[];
  readonly reach: number;
  readonly normalized: boolean;
  /** Whether content and distances are projected by the same weights. */
  readonly shared: boolean;
}

function sourcesOf(settings: Settings): readonly Source[] {
  const stated = settings.get('pos_att_type');
  const words = typeof stated === 'string' ? stated.toLowerCase().split('|') : (settings.list('pos_att_type') ?? []);
  return words.map((word) => {
    const found = (['c2p', 'p2c'] as const).find((source) => source === String(word).trim());
    if (found === undefined) throw settings.fault('pos_att_type', 'c2p, p2c or both', String(word).slice(0, 80));
    return found;
  });
}

/**
 * Returns the bucket of a distance: itself up to the middle, then ever wider buckets. Quotients are rounded to float32 as PyTorch rounds
 * them. Source: `make_log_bucket_position` of transformers.
 */
function bucketOf(distance: number, middle: number, furthest: number): number {
  const far = Math.abs(distance);
  if (far <= middle || furthest - 1 <= middle) return distance;
  const whole = Math.fround(Math.log(Math.fround((furthest - 1) / middle)));
  const share = Math.fround(Math.fround(Math.log(Math.fround(far / middle))) / whole);
  return Math.sign(distance) * (Math.ceil(Math.fround(share * (middle - 1))) + middle);
}

/** Most positions, which bounds the table of distances. */
const MOST_POSITIONS = 100_000;

/** Reads what config.json says of distances. @throws WinnowError `invalid_input`. */
export function readRelative(settings: Settings): Relative {
  const positions = settings.bounded('max_position_embeddings', MOST_POSITIONS, 512);
  const isStated = settings.integer('max_relative_positions', -1, -1) > 0;
  const furthest = isStated ? settings.bounded('max_relative_positions', MOST_POSITIONS) : positions;
  const buckets = settings.integer('position_buckets', -1, -1);
  if (buckets > MOST_POSITIONS) throw settings.fault('position_buckets', `at most ${MOST_POSITIONS}`, `${buckets}`);
  const span = buckets > 0 ? buckets : furthest;
  const middle = Math.floor(buckets / 2);
  if (buckets === 1) throw settings.fault('position_buckets', '2 or more', '1');
  // The wider buckets are between the middle and the furthest distance; without any, no distance may be beyond the middle.
  if (buckets > 0 && furthest - 1 <= middle && positions - 1 > middle)
    throw settings.fault('max_relative_positions', `more than ${middle + 1}, for ${buckets} buckets`, `${furthest}`);
  const reach = Math.max(positions, furthest, span);
  const rowOf = (distance: number): number => {
    const bucket = buckets > 0 ? bucketOf(distance, middle, furthest) : distance;
    return Math.min(2 * span - 1, Math.max(0, bucket + span));
  };
  const words = String(settings.get('norm_rel_ebd') ?? 'none')
    .toLowerCase()
    .split('|');
  return {
    sources: sourcesOf(settings),
    embedded: settings.flag('relative_attention', false),
    span,
    rows: Array.from({ length: 2 * reach + 1 }, (_, i) => rowOf(i - reach)),
    reach,
    normalized: words.some((word) => word.trim() === 'layer_norm'),
    shared: settings.flag('share_att_key', false),
  };
}

/** The embeddings of distances, and which of them `rowsOfDiagonals` takes for each of its 2 · sequence columns. */
interface Distances {
  /** [2 · span, hidden] */
  readonly table: string;
  /** Distances from sequence − 1 to −sequence: for queries. */
  readonly falling: string;
  /** Distances from 1 − sequence to sequence: for keys. */
  readonly rising: string;
}

function distancesOf(parts: Parts, at: string, relative: Relative, { hidden, epsilon }: Sizes): Distances {
  const { g, checkpoint } = parts;
  const { reach, span } = relative;
  const name = `${at}rel_embeddings.weight`;
  const plain = parameter(parts, name, () => checkpoint.take(name, [2 * span, hidden]));
  const table = relative.normalized ? norm(parts, plain, `${at}LayerNorm`, { size: hidden, epsilon }) : plain;
  const length = rowLength(parts);
  const [zero, one, two] = [0, 1, 2].map((n) => g.scalar(n, 'int64')) as [string, string, string];
  const rising = g.sub(g.op('Range', [zero, g.mul(length, two), one]), g.sub(length, one));
  const rows = g.constant(int64s(relative.rows), 'distance_rows');
  const rowOf = (distances: string): string => {
    const near = g.op('Clip', [distances, g.scalar(-reach, 'int64'), g.scalar(reach, 'int64')]);
    return g.gather(rows, g.add(near, g.scalar(reach, 'int64')));
  };
  return { table, falling: rowOf(g.neg(rising)), rising: rowOf(rising) };
}

/**
 * Takes from row i of [batch, heads, sequence, 2 · sequence] the columns from sequence − 1 − i on, as many as the sequence has tokens. Read
 * as one row of numbers, these beginnings are 2 · sequence − 1 apart.
 */
function rowsOfDiagonals(g: GraphBuilder, x: string, length: string, heads: number): string {
  const one = g.ints([1]);
  const apart = g.sub(g.mul(length, g.ints([2])), one);
  const flat = g.reshape(x, [0, 0, -1]);
  const first = g.sub(length, one);
  const used = g.op('Slice', [flat, first, g.add(first, g.mul(length, apart)), g.ints([2])]);
  const rows = g.reshape(used, g.concat([g.ints([0, heads]), length, apart], 0));
  return g.op('Slice', [rows, g.ints([0]), length, g.ints([3])]);
}

/**
 * Returns what writes the attention of a layer, from its input [batch, sequence, hidden] and the prefix of its weights; the result has
 * heads side by side, without the output projection.
 * @param prefix Prefix of the encoder's weights. @param mask Added to the scores.
 */
export function disentangled(
  parts: Parts,
  prefix: string,
  relative: Relative,
  mask: string,
  sizes: Sizes,
): (x: string, at: string) => string {
  const { g, checkpoint } = parts;
  const { hidden, heads, size } = sizes;
  const at = `${prefix}encoder.`;
  const sources = new Set(relative.embedded ? relative.sources : []);
  const distances = sources.size > 0 ? distancesOf(parts, at, relative, sizes) : undefined;
  // Where nothing reads them, a checkpoint has them all the same.
  for (const unused of [
    'rel_embeddings.weight',
    ...['weight', 'bias', 'gamma', 'beta'].map((kind) => `LayerNorm.${kind}`),
  ])
    checkpoint.leaveOut(`${at}${unused}`);
  const scale = g.scalar(1 / Math.sqrt(size * (1 + new Set(relative.sources).size)));
  const length = g.unsqueeze(rowLength(parts), [0]);
  return (x, layer) => {
    const project = (states: string, name: string): string =>
      linear(parts, states, `${layer}${name}`, { from: hidden, to: hidden });
    const split = (states: string, perm: readonly number[]): string => splitHeads(parts, states, heads, size, perm);
    const query = split(g.mul(project(x, 'query_proj'), scale), [0, 2, 1, 3]);
    const key = project(x, 'key_proj');
    /** Products of states [batch, heads, sequence, size] with the embeddings of all distances, a row for each token. */
    const byDistance = (states: string, name: string, rows: string): string => {
      const projected = g.gather(project(distances!.table, name), rows);
      // Transposed before it is split: the engine's optimizer (1.30, 1.32) ends the process at the other order in float16.
      const columns = g.reshape(g.transpose(projected, [1, 0]), [heads, size, -1]);
      return rowsOfDiagonals(g, g.matmul(states, columns), length, heads);
    };
    let scores = g.matmul(query, split(key, [0, 2, 3, 1]));
    if (distances && sources.has('c2p')) {
      const name = relative.shared ? 'key_proj' : 'pos_key_proj';
      scores = g.add(scores, byDistance(query, name, distances.falling));
    }
    if (distances && sources.has('p2c')) {
      const name = relative.shared ? 'query_proj' : 'pos_query_proj';
      const scaled = split(g.mul(key, scale), [0, 2, 1, 3]);
      scores = g.add(scores, g.transpose(byDistance(scaled, name, distances.rising), [0, 1, 3, 2]));
    }
    const value = split(project(x, 'value_proj'), [0, 2, 1, 3]);
    return mix(parts, { scores: g.add(scores, mask), value }, sizes);
  };
}
