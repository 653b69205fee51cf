import type { InferenceRow } from '../../src/inference/inference-types.ts';
import { Tensor } from '../../src/onnx/engine.ts';
import { createRandom } from '../../src/util/random.ts';

/** Token ids from here on are words in BERT's vocabulary. */
const FIRST_WORD = 1996;

/** Returns rows of random words. @param length of a row, by its place. */
export function randomRows(
  count: number,
  length: (row: number) => number,
  vocabulary: number,
  seed = 1,
): InferenceRow[] {
  const random = createRandom(seed);
  const first = Math.min(FIRST_WORD, vocabulary >> 1);
  return Array.from({ length: count }, (_, row) => {
    const ids = Int32Array.from({ length: length(row) }, () => first + random.below(vocabulary - first));
    return { ids, secondSegment: Math.min(ids.length - 1, 12) };
  });
}

type Value = (row: InferenceRow, at: number) => number;

const VALUES: Readonly<Record<string, Value>> = {
  input_ids: ({ ids }, at) => ids[at] ?? 0,
  attention_mask: ({ ids }, at) => (at < ids.length ? 1 : 0),
  token_type_ids: ({ ids, secondSegment }, at) => (at >= secondSegment && at < ids.length ? 1 : 0),
  position_ids: (_, at) => at,
};

/** Makes the tensors of a batch, so that a measurement times the engine alone. */
export function feedsOf(rows: readonly InferenceRow[], inputs: readonly string[]): Readonly<Record<string, Tensor>> {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  return Object.fromEntries(
    inputs.map((name) => {
      const value = VALUES[name];
      if (value === undefined) throw new Error(`expected inputs out of ${Object.keys(VALUES)}, got ${name}`);
      const data = new BigInt64Array(rows.length * length);
      rows.forEach((row, r) => {
        for (let at = 0; at < length; at++) data[r * length + at] = BigInt(value(row, at));
      });
      return [name, new Tensor('int64', data, [rows.length, length])];
    }),
  );
}

export const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (x, i) => Math.abs(x - b[i]!)).reduce((most, x) => (x > most || Number.isNaN(x) ? x : most), 0);

export const rootMeanSquare = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);

/** Returns the numbers of a float tensor; float16 comes as its type's array. */
export const numbersOf = ({ data }: Tensor): readonly number[] => Array.from(data as ArrayLike<number>, Number);
